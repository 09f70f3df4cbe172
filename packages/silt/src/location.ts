import { resolve } from "node:path";
import { SiltError } from "@silt/core";

/** Where a store is: a folder, or a bucket's prefix with the table of its log. */
export type Location =
  | { readonly kind: "folder"; readonly path: string }
  | {
      readonly kind: "aws";
      readonly bucket: string;
      /** Empty, or ends in `/`. */
      readonly prefix: string;
      readonly table: string;
      /** Of the compactor; undefined when nobody is to be hinted at. */
      readonly queue: string | undefined;
    };

export const DEFAULT_LOCATION = "./silt-store";
const AWS_EXAMPLE = "s3://bucket/prefix?table=NAME";
const AWS_PARAMETERS = ["table", "queue"];
/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html */
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

/**
 * Parses what a user calls a store: a folder, or `s3://bucket/prefix?table=NAME[&queue=NAME]`. Throws
 * `invalid` for anything else.
 */
export function parseLocation(text: string): Location {
  if (text === "") {
    throw new SiltError("invalid", "Cannot open store: its location is empty, expected a folder");
  }
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(text)?.[1];
  if (scheme === undefined) return { kind: "folder", path: resolve(text) };
  if (scheme === "s3") return parseAws(text);
  throw refuse(text, `Silt has no adapter for ${scheme}://`);
}

/** The location in its one spelling. */
export function formatLocation(location: Location): string {
  if (location.kind === "folder") return location.path;
  const { bucket, prefix, table, queue } = location;
  const parameters = new URLSearchParams({ table, ...(queue !== undefined && { queue }) });
  return `s3://${bucket}/${prefix}?${parameters}`;
}

function parseAws(text: string): Location {
  const [place = "", query = "", ...rest] = text.slice("s3://".length).split("?");
  if (rest.length > 0) throw refuse(text, 'it has more than one "?"');
  const [bucket = "", ...folders] = place.split("/");
  if (!BUCKET.test(bucket)) throw refuse(text, `"${bucket}" is no name of a bucket`);
  const parameters = new URLSearchParams(query);
  for (const name of new Set(parameters.keys())) {
    if (!AWS_PARAMETERS.includes(name)) throw refuse(text, `"${name}" is no parameter`);
    if (parameters.getAll(name).length > 1) throw refuse(text, `it names "${name}" twice`);
  }
  const table = parameters.get("table") ?? "";
  if (table === "") throw refuse(text, "it does not name the table that holds the log");
  const prefix = folders.filter((folder) => folder !== "").map((folder) => `${folder}/`);
  const queue = parameters.get("queue") || undefined;
  return { kind: "aws", bucket, prefix: prefix.join(""), table, queue };
}

function refuse(text: string, state: string): SiltError {
  return new SiltError(
    "invalid",
    `Cannot open store "${text}": ${state}, expected ${AWS_EXAMPLE}, or a folder such as ${DEFAULT_LOCATION}`,
  );
}
