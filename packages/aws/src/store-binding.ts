/**
 * A store on AWS is a bucket's prefix and a table that belong together: the marker object names the
 * table and an id, the table's `STORE` item has the same id and names the place. A wrong or restored
 * table, a wrong prefix, two stores in one table are refused before anything is read or written (F52).
 * The marker comes first, the item second: an item without its marker is a marker that was lost.
 */
import {
  type AwsStoreMarker,
  encodeJson,
  FORMAT,
  type ObjectStore,
  parseAwsStoreMarker,
  type Random,
  SiltError,
  seal,
  sha256Of,
  shortId,
} from "@silt/core";
import type { AwsClients } from "./aws-clients.ts";
import { attributesOf, checkHeader, header, text, textOf } from "./dynamo-items.ts";
import { createDynamoTable } from "./dynamo-table.ts";

const MARKER_KEY = "silt-store.json";
const MARKER_BYTES_MAX = 64 * 1024;
const BINDING_KEY = { pk: "STORE", sk: "STORE" };
/** Others may create the same store at the same moment. */
const ATTEMPTS_MAX = 5;

/** Where the objects are and what holds the log. */
export interface AwsPlace {
  readonly bucket: string;
  /** Empty, or ends in `/`. */
  readonly prefix: string;
  readonly table: string;
}

export interface BindingContext {
  readonly clients: Pick<AwsClients, "dynamo">;
  readonly objects: ObjectStore;
  readonly random: Random;
}

interface Binding {
  readonly bindingId: string;
  readonly bucket: string;
  readonly prefix: string;
}

/**
 * Checks that bucket and table belong together; with `create` an empty pair becomes a store. Throws
 * `invalid` for what is no store or two different ones, `corrupt` when a half of it was lost.
 */
export async function bindStore(
  context: BindingContext,
  place: AwsPlace,
  { create }: { readonly create: boolean },
): Promise<void> {
  const [marker, binding] = await Promise.all([
    readMarker(context.objects, place),
    readBinding(context, place),
  ]);
  if (isBound(place, marker, binding)) return;
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    if (await bindOnce(context, place, create)) return;
  }
  throw new SiltError("unavailable", `Cannot open ${named(place)}: others change it; try again`);
}

/**
 * Looks again, at what a creation writes last first: what is missing then was lost, and is not on its
 * way. Takes one step of a creation if there is one to take, the marker, or the item of a marker that
 * is there. True when bucket and table belong together.
 */
async function bindOnce(
  context: BindingContext,
  place: AwsPlace,
  create: boolean,
): Promise<boolean> {
  const collections = await context.objects.list("collections/", { limit: 1 });
  const binding = await readBinding(context, place);
  const marker = await readMarker(context.objects, place);
  if (marker !== undefined && marker.table !== place.table) throw otherTable(place, marker);
  if (binding !== undefined && !isAt(binding, place)) throw otherPlace(place, binding);
  if (isBound(place, marker, binding)) return true;
  if (binding !== undefined) throw lostMarker(place, marker);
  if (collections.length > 0) throw lostLog(place, marker);
  if (!create) {
    throw new SiltError(
      "invalid",
      `Cannot open ${named(place)}: there is no store; name another place, or create one with "silt init"`,
    );
  }
  if (marker === undefined) await writeMarker(context, place);
  else await writeBinding(context, place, marker.bindingId);
  return false;
}

function isBound(
  place: AwsPlace,
  marker: AwsStoreMarker | undefined,
  binding: Binding | undefined,
): boolean {
  if (marker === undefined || binding === undefined) return false;
  const isHere = marker.table === place.table && isAt(binding, place);
  return isHere && marker.bindingId === binding.bindingId;
}

async function readMarker(
  objects: ObjectStore,
  place: AwsPlace,
): Promise<AwsStoreMarker | undefined> {
  const found = await objects.get(MARKER_KEY, { bytesMax: MARKER_BYTES_MAX });
  if (found.outcome !== "found") return undefined;
  return parseAwsStoreMarker(found.bytes, `"s3://${place.bucket}/${place.prefix}${MARKER_KEY}"`);
}

async function writeMarker({ objects, random }: BindingContext, { table }: AwsPlace) {
  const marker: AwsStoreMarker = seal({
    format: FORMAT as 1,
    requires: [],
    storeKind: "aws" as const,
    bindingId: shortId(random.bytes(8)),
    table,
  });
  const bytes = encodeJson(marker);
  const digest = { bytes: bytes.byteLength, sha256: sha256Of(bytes) };
  await objects.put(
    MARKER_KEY,
    { kind: "bytes", bytes },
    { condition: { ifAbsent: true }, ...digest },
  );
}

const tableOf = ({ clients }: BindingContext, { table }: AwsPlace) =>
  createDynamoTable({ client: clients.dynamo, table });

async function readBinding(context: BindingContext, place: AwsPlace): Promise<Binding | undefined> {
  const item = await tableOf(context, place).get("read", BINDING_KEY);
  if (item === undefined) return undefined;
  const what = `item STORE of table "${place.table}"`;
  checkHeader(item, what);
  return {
    bindingId: textOf(item, "bindingId", what),
    bucket: textOf(item, "bucket", what),
    prefix: textOf(item, "prefix", what),
  };
}

/** Somebody else may be faster: whose the table is then is read again. */
async function writeBinding(
  context: BindingContext,
  place: AwsPlace,
  bindingId: string,
): Promise<void> {
  await tableOf(context, place).put("create", {
    Item: {
      ...attributesOf(BINDING_KEY),
      ...header(),
      bindingId: text(bindingId),
      bucket: text(place.bucket),
      prefix: text(place.prefix),
    },
    ConditionExpression: "attribute_not_exists(pk)",
  });
}

const isAt = (binding: Binding, { bucket, prefix }: AwsPlace) =>
  binding.bucket === bucket && binding.prefix === prefix;

const named = ({ bucket, prefix, table }: AwsPlace) =>
  `store "s3://${bucket}/${prefix}?table=${table}"`;

function otherTable(place: AwsPlace, { table }: AwsStoreMarker): SiltError {
  return new SiltError(
    "invalid",
    `Cannot open ${named(place)}: its log is in table "${table}"; open it with ?table=${table}`,
  );
}

function otherPlace(place: AwsPlace, { bucket, prefix }: Binding): SiltError {
  return new SiltError(
    "invalid",
    `Cannot open ${named(place)}: the table holds the log of the store at "s3://${bucket}/${prefix}"; each store has a table of its own`,
  );
}

function lostMarker(place: AwsPlace, marker: AwsStoreMarker | undefined): SiltError {
  const state =
    marker === undefined
      ? `its "${MARKER_KEY}" is gone, though its log is there`
      : `its "${MARKER_KEY}" and its log are of two stores`;
  return new SiltError(
    "corrupt",
    `Cannot open ${named(place)}: ${state}; restore both from backups of the same moment`,
  );
}

function lostLog(place: AwsPlace, marker: AwsStoreMarker | undefined): SiltError {
  const gone = marker === undefined ? `its "${MARKER_KEY}" is` : "the log in its table is";
  return new SiltError(
    "corrupt",
    `Cannot open ${named(place)}: ${gone} gone, but collections lie there; restore it from a backup`,
  );
}
