/** A writer's look at its own records: what was in doubt is settled, what is known is there. */
import type { Collection, StoredRecord } from "../../../packages/silt/src/index.ts";
import { expectThat, type RoleContext } from "./role-context.ts";
import type { RoleJournal } from "./role-journal.ts";
import { type Digests, digestsOf, writtenRecord } from "./slot-state.ts";

/** What a fresh read sees of one slot. */
export async function readOwn(
  collection: Collection,
  slot: string,
): Promise<readonly StoredRecord[]> {
  const answer = await collection.get({ fresh: true, embeddings: true, where: { slot } });
  expectThat(
    answer.behind === 0,
    () => `a fresh read of ${collection.name} is behind: ${JSON.stringify(answer.shards)}`,
  );
  return answer.records;
}

const same = (a: Digests, b: Digests) => a.every((digest, shard) => digest === b[shard]);

/** Finds out what became of the operation in doubt: all of it is there, or nothing. */
export async function settleDoubt(
  context: Pick<RoleContext, "store" | "slot" | "say">,
  journal: RoleJournal,
): Promise<void> {
  const { model } = journal;
  const { doubt } = model;
  if (doubt === undefined) return;
  const { collection: name, operation } = doubt;
  const collection = await context.store.collection(name);
  const records = (await readOwn(collection, context.slot)).map(writtenRecord);
  const state = model.stateOf(name);
  const digests = digestsOf(records, state.shards);
  const applied = same(digests, state.last.digests);
  expectThat(
    applied || same(digests, state.beforeLast),
    () =>
      `${context.slot} in ${name}: after operation ${operation} was cut off, its records are neither ` +
      `those before nor those after it: ${differenceOf(state.records, records)}`,
  );
  journal.append({ settled: operation, applied });
  context.say({ did: applied ? "cut off, applied" : "cut off, not applied" });
}

/** A fresh read gives exactly what was acknowledged. */
export async function expectOwn(
  context: RoleContext,
  journal: RoleJournal,
  name: string,
): Promise<void> {
  const collection = await context.store.collection(name);
  const records = (await readOwn(collection, context.slot)).map(writtenRecord);
  const state = journal.model.stateOf(name);
  expectThat(
    same(digestsOf(records, state.shards), state.last.digests),
    () =>
      `${context.slot} in ${name}: a fresh read lacks what was acknowledged: ${differenceOf(state.records, records)}`,
  );
  context.say({ did: "own records read" });
}

const LISTED_MAX = 6;

/** The first records that differ, for people. */
export function differenceOf(
  expected: ReadonlyMap<string, object>,
  records: readonly { readonly id: string }[],
): string {
  const found = new Map(records.map((record) => [record.id, JSON.stringify(record)]));
  const ids = new Set([...expected.keys(), ...found.keys()]);
  const lines = [...ids].flatMap((id) => {
    const record = expected.get(id);
    const text = record === undefined ? undefined : JSON.stringify(record);
    if (text !== undefined && found.has(id) && sameJson(text, found.get(id) ?? "")) return [];
    return [`expected ${short(text)}, found ${short(found.get(id))}`];
  });
  return lines.slice(0, LISTED_MAX).join("; ");
}

const short = (text: string | undefined) =>
  text?.replace(/long (\d+) [^"]*/, "long $1 …") ?? "none";

function sameJson(a: string, b: string): boolean {
  const sorted = (text: string) => {
    const { metadata, ...rest } = JSON.parse(text);
    return JSON.stringify([Object.entries(rest).sort(), Object.entries(metadata ?? {}).sort()]);
  };
  return sorted(a) === sorted(b);
}
