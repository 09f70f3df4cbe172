/**
 * What the writers of the kill tests do, and what it means for the records: said as plainly as
 * possible, on a Map, sharing no code with the fold.
 */
import type { SeededRandom } from "@silt/testkit";
import type { Collection, CollectionWriter } from "../../../packages/silt/src/index.ts";

/** A record as it was written. All of a slot name it in their metadata. */
export interface KillRecord {
  readonly id: string;
  readonly parent: string | null;
  readonly document: string | null;
  readonly metadata: Readonly<Record<string, string | number | boolean>>;
  readonly embedding: readonly number[];
}

export interface KillPatch {
  readonly id: string;
  readonly document?: string;
  readonly metadata: Readonly<Record<string, string | number | null>>;
}

/** One call of a writer. */
export type Operation =
  | { readonly kind: "put"; readonly records: readonly KillRecord[] }
  | { readonly kind: "replace"; readonly parent: string; readonly records: readonly KillRecord[] }
  | { readonly kind: "patch"; readonly patches: readonly KillPatch[] }
  | { readonly kind: "delete-ids"; readonly ids: readonly string[] }
  | { readonly kind: "delete-parent"; readonly parent: string }
  | { readonly kind: "delete-where"; readonly slot: string; readonly group: number };

export type Records = ReadonlyMap<string, KillRecord>;
/** The records that an operation touches, as they are afterwards; undefined = gone. */
export type Change = ReadonlyMap<string, KillRecord | undefined>;

export const DIMENSION = 4;
const PARENTS = 6;
const CHILDREN = 4;
const LOOSE = 16;
const GROUPS = 5;
const RECORDS_MAX = 5;
/** Lines of journals, and rows, that span several pages. */
const LONG_DOCUMENT = 20_000;
const LONG_CHANCE = 0.04;

const KINDS = {
  /** Of a call that is one transaction. */
  direct: ["put", "put", "put", "replace", "replace", "patch", "patch", "delete-ids"],
  rare: ["delete-parent", "delete-where"],
} as const;
const RARE_CHANCE = 0.15;

/** A random operation on the records of one slot; `turn` makes what it writes new. */
export function randomOperation(
  random: SeededRandom,
  slot: string,
  turn: number,
  allowed: { readonly deleteWhere: boolean },
): Operation {
  const kind = random.pick(random.chance(RARE_CHANCE) ? KINDS.rare : KINDS.direct);
  const parent = `${slot}/p${random.int(PARENTS)}`;
  const some = <T>(make: (index: number) => T) =>
    Array.from({ length: 1 + random.int(RECORDS_MAX) }, (_, index) => make(index));
  if (kind === "put") {
    const records = some(() => randomRecord(random, slot, turn, randomPlace(random, slot)));
    return { kind, records: [...new Map(records.map((record) => [record.id, record])).values()] };
  }
  if (kind === "replace") {
    const count = random.int(CHILDREN + 1);
    const places = Array.from({ length: count }, (_, index) => ({
      id: `${parent}#${index}`,
      parent,
    }));
    return { kind, parent, records: places.map((at) => randomRecord(random, slot, turn, at)) };
  }
  if (kind === "patch") return { kind, patches: some(() => randomPatch(random, slot, turn)) };
  if (kind === "delete-ids") return { kind, ids: some(() => randomPlace(random, slot).id) };
  if (kind === "delete-parent" || !allowed.deleteWhere) return { kind: "delete-parent", parent };
  return { kind, slot, group: random.int(GROUPS) };
}

interface Place {
  readonly id: string;
  readonly parent: string | null;
}

function randomPlace(random: SeededRandom, slot: string): Place {
  if (random.chance(0.5)) return { id: `${slot}/x${random.int(LOOSE)}`, parent: null };
  const parent = `${slot}/p${random.int(PARENTS)}`;
  return { id: `${parent}#${random.int(CHILDREN)}`, parent };
}

function randomRecord(
  random: SeededRandom,
  slot: string,
  turn: number,
  { id, parent }: Place,
): KillRecord {
  const document = random.chance(LONG_CHANCE)
    ? `long ${turn} `.padEnd(LONG_DOCUMENT, "silt ")
    : random.chance(0.5)
      ? `note ${turn}`
      : null;
  // Never all zero: the collections are compared by cosine.
  const embedding = [
    1 + random.int(9),
    ...Array.from({ length: DIMENSION - 1 }, () => random.int(9)),
  ];
  return { id, parent, document, metadata: { slot, group: random.int(GROUPS), turn }, embedding };
}

function randomPatch(random: SeededRandom, slot: string, turn: number): KillPatch {
  const { id } = randomPlace(random, slot);
  const seen = random.chance(0.3) ? null : turn;
  const group = random.int(GROUPS);
  return random.chance(0.5)
    ? { id, metadata: { seen } }
    : { id, document: `patched ${turn}`, metadata: { seen, group } };
}

/** What an operation changes in `records`. */
export function changeBy(operation: Operation, records: Records): Change {
  const change = new Map<string, KillRecord | undefined>();
  const removeWhere = (isGone: (record: KillRecord) => boolean) => {
    for (const record of records.values()) if (isGone(record)) change.set(record.id, undefined);
  };
  switch (operation.kind) {
    case "put":
      break;
    case "replace":
    case "delete-parent":
      removeWhere(({ parent }) => parent === operation.parent);
      break;
    case "delete-ids":
      removeWhere(({ id }) => operation.ids.includes(id));
      break;
    case "delete-where":
      removeWhere(
        ({ metadata }) => metadata.slot === operation.slot && metadata.group === operation.group,
      );
      break;
    case "patch":
      for (const patch of operation.patches) {
        const before = change.get(patch.id) ?? records.get(patch.id);
        if (before !== undefined) change.set(patch.id, patched(before, patch));
      }
  }
  if ("records" in operation) for (const record of operation.records) change.set(record.id, record);
  return change;
}

function patched(record: KillRecord, { document, metadata }: KillPatch): KillRecord {
  const next = { ...record.metadata };
  for (const [key, value] of Object.entries(metadata)) {
    if (value === null) delete next[key];
    else next[key] = value;
  }
  return { ...record, document: document ?? record.document, metadata: next };
}

/** Does it; resolves once durable and registered. */
export async function perform(collection: Collection, operation: Operation): Promise<void> {
  switch (operation.kind) {
    case "put":
      await collection.put(operation.records.map(inputOf));
      return;
    case "replace":
      await collection.replace(operation.parent, operation.records.map(inputOf));
      return;
    case "patch":
      await collection.patch(operation.patches);
      return;
    case "delete-ids":
      await collection.delete({ id: operation.ids });
      return;
    case "delete-parent":
      await collection.delete({ parent: operation.parent });
      return;
    case "delete-where":
      await collection.delete({ where: { slot: operation.slot, group: operation.group } });
  }
}

/** Hands it to a buffered writer; resolves once it is in hand. A writer deletes one id a call. */
export async function performBuffered(
  writer: CollectionWriter,
  operation: Operation,
): Promise<void> {
  if (operation.kind === "put") return writer.put(operation.records.map(inputOf));
  if (operation.kind === "patch") return writer.patch(operation.patches);
  if (operation.kind === "replace") {
    return writer.replace(operation.parent, operation.records.map(inputOf));
  }
  if (operation.kind === "delete-parent") return writer.delete({ parent: operation.parent });
  if (operation.kind === "delete-ids") return writer.delete({ id: operation.ids[0] as string });
  throw new TypeError(`A buffered writer knows no ${operation.kind}`);
}

/** As `put` takes it. */
export function inputOf({ parent, document, ...rest }: KillRecord) {
  return {
    ...rest,
    ...(parent !== null && { parent }),
    ...(document !== null && { document }),
  };
}
