import { resolve } from "node:path";
import { SiltError } from "@silt/core";

/** Where a store is. */
export type Location = { readonly kind: "folder"; readonly path: string };

export const DEFAULT_LOCATION = "./silt-store";

/** Parses what a user calls a store: a folder. Throws `invalid` for anything else. */
export function parseLocation(text: string): Location {
  if (text === "") {
    throw new SiltError("invalid", "Cannot open store: its location is empty, expected a folder");
  }
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(text)?.[1];
  if (scheme === undefined) return { kind: "folder", path: resolve(text) };
  throw new SiltError(
    "invalid",
    `Cannot open store "${text}": this version of Silt has no adapter for ${scheme}://, expected a folder such as ${DEFAULT_LOCATION}`,
  );
}
