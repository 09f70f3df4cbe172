/** A collection that the library writes and the deployed functions compact; what was acknowledged is known. */
import { randomBytes, randomUUID } from "node:crypto";
import { formatHint } from "@silt/aws";
import {
  type Clock,
  deltaKey,
  type Ports,
  parseRecord,
  putOptionsOf,
  type RegisteredRun,
  registerRuns,
  type ShardRef,
  sha256Of,
  shardRefs,
  uuidV7,
  writeDeltas,
} from "@silt/core";
import { expect } from "vitest";
import { sqsEvent } from "../../../lambdas/wiring.fixture.ts";
import type { Collection, RecordInput, Store } from "../../../packages/silt/src/index.ts";
import { createShardBuffers } from "../../../packages/silt/src/shard-contents.ts";
import { type DeployedStack, waitUntil } from "./deployed-stack.fixture.ts";

const DIMENSION = 64;
/** Of compactors that are killed: they are replaced soon. */
const LEASE = { ttlMs: 2_000, heartbeatMs: 500, skewMs: 200 };

export async function openNotes(stack: DeployedStack, name: string, shards = 1): Promise<Notes> {
  const store = await stack.store();
  const own = `${name}-${randomUUID().slice(0, 8)}`;
  const collection = await store.collection(own, { dimension: DIMENSION, shards });
  await store.setPolicy(own, (policy) => ({ ...policy, lease: LEASE }));
  return new Notes(store, collection);
}

export class Notes {
  readonly collection: Collection;
  readonly #store: Store;
  /** Ids that were acknowledged. */
  readonly #known = new Set<string>();

  constructor(store: Store, collection: Collection) {
    this.#store = store;
    this.collection = collection;
  }

  get ports(): Ports {
    return this.#store.context.ports;
  }

  /** The only one, or the first. */
  get shard(): ShardRef {
    const [shard] = shardRefs(this.collection.identity);
    if (shard === undefined) throw new Error("A collection has a shard");
    return shard;
  }

  /** Hints at the first shard, as the queue gives them to the compactor, by the ids of the messages. */
  hints(...ids: readonly string[]) {
    return sqsEvent(Object.fromEntries(ids.map((id) => [id, formatHint(this.shard)])));
  }

  /** So many more records as one run a shard. */
  async put(count: number): Promise<void> {
    const records = this.#next(count);
    await this.collection.put(records);
    for (const { id } of records) this.#known.add(id);
  }

  /** The same by a writer whose clock is late: the run is old when it is registered. */
  async putOld(count: number, ageMs: number): Promise<void> {
    const { clock } = this.ports;
    const late: Clock = { ...clock, nowMs: () => clock.nowMs() - ageMs };
    const buffers = createShardBuffers(this.collection.identity);
    const records = this.#next(count);
    const [field] = this.collection.identity.vectors;
    if (field === undefined) throw new Error("A collection has vectors");
    for (const record of records) buffers.add(parseRecord(record, field, this.collection.shards));
    await writeDeltas({ ...this.ports, clock: late }, this.collection.identity, buffers.take());
    for (const { id } of records) this.#known.add(id);
  }

  /** Registers a bundle that has the right hash and is none. */
  async putPoison(): Promise<RegisteredRun> {
    const { ports, shard } = this;
    const bytes = randomBytes(4_096);
    const runId = uuidV7(ports.clock.nowMs(), ports.random.bytes(16));
    const ref = { key: deltaKey(shard, runId), bytes: bytes.length, sha256: sha256Of(bytes) };
    await ports.objects.put(
      ref.key,
      { kind: "bytes", bytes },
      putOptionsOf(ref, { ifAbsent: true }),
    );
    const draft = { shard, runId, delta: { ...ref, codec: "tar" as const }, replaced: 0 };
    const rows = { put: 1, patch: 0, delete: 0 };
    const outcome = await registerRuns(ports, [{ ...draft, rows, source: null, retryOf: null }]);
    const [run] = outcome.outcome === "registered" ? outcome.runs : [];
    if (run === undefined) throw new Error(`not registered: ${outcome.outcome}`);
    return run;
  }

  async status() {
    const [status] = await this.#store.status(this.collection.name);
    const shards = status?.shards ?? [];
    const sum = (of: (shard: (typeof shards)[number]) => number) =>
      shards.reduce((total, shard) => total + of(shard), 0);
    return {
      pending: sum(({ pending }) => pending),
      excluded: sum(({ excluded }) => excluded),
      version: sum(({ version }) => version),
    };
  }

  async untilApplied(msMax?: number): Promise<void> {
    const what = `nothing of "${this.collection.name}" is pending`;
    await waitUntil(what, async () => (await this.status()).pending === 0, msMax);
  }

  /** Who holds the lease of the first shard. */
  async untilLeased(): Promise<string> {
    const { holder } = await waitUntil("a compactor has the lease", () =>
      this.ports.leases.read(this.shard),
    );
    return holder;
  }

  /** Everything acknowledged answers, once, and nothing else. */
  async expectAll(): Promise<void> {
    const { records, behind } = await this.collection.get({ limit: this.#known.size + 1 });
    expect(behind).toBe(0);
    expect(records.map(({ id }) => id).toSorted()).toEqual([...this.#known].toSorted());
  }

  #next(count: number): (RecordInput & { readonly id: string; readonly embedding: number[] })[] {
    const first = this.#known.size;
    return Array.from({ length: count }, (_, at) => {
      const embedding = Array.from(
        { length: DIMENSION },
        (__, part) => 1 + ((first + at + part) % 7),
      );
      return { id: `note-${first + at}`, embedding };
    });
  }
}
