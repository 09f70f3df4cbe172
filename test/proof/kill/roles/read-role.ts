import type { Collection, QueryAnswer, StoredRecord } from "../../../../packages/silt/src/index.ts";
import { DIMENSION } from "../operation.ts";
import { expectThat, type Role } from "../role-context.ts";
import { writingSlots } from "../slots.ts";
import { SnapshotCheck } from "../snapshot-check.ts";
import { COLLECTION_NAMES } from "../world.ts";

const K = 5;
const PAUSE_MS = 100;

/** Reads all of a collection, fresh or not, and searches it; holds the answers against the journals. */
export const readRole: Role = async ({ world, store, random, phases, say }) => {
  const check = new SnapshotCheck(world, writingSlots());
  const versions = new Map<string, readonly number[]>();
  return async () => {
    const name = random.pick(COLLECTION_NAMES);
    const fresh = random.chance(0.5);
    const collection = await store.collection(name);
    const oldest = check.begin(name, fresh);
    phases.enter("search");
    const answer = await collection.get({ fresh, embeddings: true });
    const query = { vector: randomVector(random.int), k: K, fresh };
    const found = await collection.query(query);
    phases.leave("search");
    if (fresh) expectThat(answer.behind === 0, () => `a fresh read of ${name} is behind`);
    check.check(name, fresh, answer.records, oldest);
    const now = versionsOf(answer);
    const before = versions.get(name) ?? [];
    expectThat(
      now.every((version, shard) => version >= (before[shard] ?? 0)),
      () => `versions of ${name} went from ${before} down to ${now}`,
    );
    versions.set(name, now);
    if (!fresh && versionsOf(found).join() === now.join())
      expectNearest(collection, query.vector, answer.records, found);
    say({ did: fresh ? "fresh read" : "snapshot read" });
    // A reader that never waits would leave the others no processor.
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  };
};

const versionsOf = ({ version, shards = [] }: Pick<QueryAnswer, "version" | "shards">) =>
  version === undefined ? shards.map((shard) => shard.version) : [version];

const randomVector = (int: (below: number) => number) => [
  1 + int(9),
  ...Array.from({ length: DIMENSION - 1 }, () => int(9)),
];

/** The distances are those of all records, ranked. */
function expectNearest(
  collection: Collection,
  vector: readonly number[],
  records: readonly StoredRecord[],
  { results }: QueryAnswer,
): void {
  const expected = records
    .map(({ embedding = new Float32Array() }) => cosineDistance(vector, embedding))
    .toSorted((a, b) => a - b)
    .slice(0, K);
  const close = expected.every(
    (distance, at) => Math.abs(distance - (results[at]?.distance ?? 9)) < 1e-9,
  );
  expectThat(
    results.length === expected.length && close,
    () =>
      `a search of ${collection.name} gives ${JSON.stringify(results)}, expected distances ${expected}`,
  );
}

function cosineDistance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let at = 0; at < a.length; at++) {
    const [x, y] = [a[at] as number, b[at] as number];
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  return 1 - dot / Math.sqrt(aa * bb);
}
