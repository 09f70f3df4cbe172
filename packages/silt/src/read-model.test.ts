/** What the library answers, held against the reference model, before and after every compaction. */
import { distanceOf, type Row, stampSequence, updatePolicy } from "@silt/core";
import {
  applyRun,
  createSeededRandom,
  type ReferenceModel,
  randomContent,
  type SeededRandom,
} from "@silt/testkit";
import { expect, it } from "vitest";
import type { Collection } from "./collection.ts";
import { type TemporaryStore, temporaryStore } from "./temporary-store.fixture.ts";

const STEPS = 24;
const SHAPE = { ids: 14, parents: 4, operationsMax: 6, dimension: 3 };

/** With several shards a child must be named after its parent. */
function nameChildren(row: Row, shards: number): Row {
  if (row.operation !== "put" || row.parent === null || shards === 1) return row;
  return { ...row, id: `${row.parent}#${row.id}` };
}

/** Writes one random content through the library, and to the model as the runs that it became. */
async function writeRandomly(
  collection: Collection,
  model: ReferenceModel,
  random: SeededRandom,
  sequence: number,
): Promise<void> {
  const content = stampSequence(randomContent(random, SHAPE), sequence);
  const rows = [...content.rows.values()].map((row) => nameChildren(row, collection.shards));
  const apply = (part: readonly Row[], replaced: readonly string[] = []) =>
    applyRun(model, {
      rows: new Map(part.map((row) => [row.id, row])),
      replaced: new Map(replaced.map((parent) => [parent, sequence])),
    });
  for (const parent of content.replaced.keys()) {
    await collection.replace(parent, []);
    apply([], [parent]);
  }
  const puts = rows.filter((row) => row.operation === "put");
  await collection.put(
    puts.map(({ id, parent, embedding, document, metadata }) => ({
      id,
      ...(parent !== null && { parent }),
      embedding: new Float32Array(Uint8Array.from(embedding).buffer),
      ...(document !== null && { document }),
      metadata,
    })),
  );
  apply(puts);
  const patches = rows.filter((row) => row.operation === "patch");
  await collection.patch(
    patches.map(({ id, document, metadata }) => ({
      id,
      ...(document !== null && { document }),
      metadata,
    })),
  );
  apply(patches);
  for (const row of rows.filter(({ operation }) => operation === "delete")) {
    await collection.delete({ id: row.id });
    apply([row]);
  }
}

function vectorOf(hex: string): Float32Array {
  return new Float32Array(Uint8Array.from(Buffer.from(hex, "hex")).buffer);
}

function nearestOf(model: ReferenceModel, query: Float32Array, k: number) {
  return [...model]
    .map(([id, { embedding }]) => ({
      id,
      distance: distanceOf("cosine", query, vectorOf(embedding)),
    }))
    .sort((a, b) => a.distance - b.distance || (a.id < b.id ? -1 : 1))
    .slice(0, k);
}

async function expectAnswers(
  collection: Collection,
  model: ReferenceModel,
  random: SeededRandom,
  fresh: boolean,
): Promise<void> {
  const all = await collection.get({ fresh, embeddings: true });
  const found = new Map(all.records.map((record) => [record.id, record]));
  expect([...found.keys()].sort()).toEqual([...model.keys()].sort());
  for (const [id, { parent, document, metadata, embedding }] of model) {
    const record = found.get(id);
    expect(record).toMatchObject({ id, parent, document, metadata });
    expect(record?.metadata).toEqual(metadata);
    expect(record?.embedding).toEqual(vectorOf(embedding));
  }
  const parent = `parent-${random.int(SHAPE.parents)}`;
  const children = await collection.get({ parent, fresh });
  const expected = [...model].filter(([, record]) => record.parent === parent).map(([id]) => id);
  expect(children.records.map(({ id }) => id)).toEqual(expected.sort());
  const query = Float32Array.from({ length: SHAPE.dimension }, () => random.fraction() + 0.01);
  const { results, behind } = await collection.query({ vector: query, k: 5, fresh });
  expect(results.map(({ id, distance }) => ({ id, distance }))).toEqual(nearestOf(model, query, 5));
  expect(behind).toBe(0);
}

async function runSeed(
  { store }: TemporaryStore,
  seed: number,
  policy: "tiered" | "single",
  shards: number,
): Promise<number> {
  const random = createSeededRandom(seed);
  const collection = await store.collection(`c${seed}`, {
    dimension: SHAPE.dimension,
    policy,
    shards,
  });
  // Else everything this small is merged into one segment each time.
  await updatePolicy(store.context.ports, collection.name, (before) => ({
    ...before,
    compaction: { ...before.compaction, smallBytes: 0, rewriteRatio: 1_000, tombstoneRatio: 1_000 },
  }));
  const model: ReferenceModel = new Map();
  let segmentsMax = 0;
  for (let step = 1; step <= STEPS; step++) {
    await writeRandomly(collection, model, random, step);
    if (random.chance(0.4)) await expectAnswers(collection, model, random, true);
    if (!random.chance(0.3)) continue;
    await store.compact(collection.name);
    const [status] = await store.status(collection.name);
    segmentsMax = Math.max(segmentsMax, ...(status?.shards ?? []).map(({ segments }) => segments));
    await expectAnswers(collection, model, random, false);
    await expectAnswers(collection, model, random, true);
  }
  await store.compact(collection.name);
  await expectAnswers(collection, model, random, false);
  return segmentsMax;
}

for (const policy of ["tiered", "single"] as const) {
  for (const shards of [1, 4]) {
    it(`I2 I5 F58 get, query and fresh reads answer as the log says, ${policy}, ${shards} shards`, async () => {
      await using temporary = await temporaryStore();
      const segmentsMax = await runSeed(temporary, shards === 1 ? 11 : 12, policy, shards);
      if (policy === "single") expect(segmentsMax).toBe(1);
      else expect(segmentsMax).toBeGreaterThan(2);
    });
  }
}
