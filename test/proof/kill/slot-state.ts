/**
 * What a slot's records may look like: one state after each of its operations, as a digest a shard,
 * so that any answer of a reader can be found among them.
 */
import { createHash } from "node:crypto";
import { canonicalJson, shardOf } from "@silt/core";
import type { StoredRecord } from "../../../packages/silt/src/index.ts";
import { changeBy, type KillRecord, type Operation, type Records } from "./operation.ts";

/** A digest a shard of a set of records: the sum of their hashes, so that it follows each change. */
export type Digests = readonly bigint[];

interface Step {
  /** The number of the operation. */
  readonly operation: number;
  readonly digests: Digests;
}

const LANE = 1n << 64n;

function hashOf(record: KillRecord): bigint {
  const { id, parent, document, metadata, embedding } = record;
  const text = canonicalJson([id, parent, document, metadata, embedding]);
  return createHash("sha256").update(text).digest().readBigUInt64LE();
}

/** The digests of records as they were read. */
export function digestsOf(records: readonly KillRecord[], shards: number): Digests {
  const sums = Array<bigint>(shards).fill(0n);
  for (const record of records) {
    const index = shardIndex(record.id, shards);
    sums[index] = ((sums[index] ?? 0n) + hashOf(record)) % LANE;
  }
  return sums;
}

const shardIndex = (id: string, shards: number) => Number(shardOf(id, shards).split("-of-")[0]);

/** A record that was read with its embedding, as it was written. */
export function writtenRecord(record: StoredRecord): KillRecord {
  const { id, parent, document, metadata, embedding = [] } = record;
  return { id, parent, document, metadata, embedding: [...embedding] };
}

/** The states of one slot's records in one collection. */
export class SlotState {
  readonly shards: number;
  readonly #records: Map<string, KillRecord>;
  readonly #steps: Step[];
  #undo: { readonly id: string; readonly before: KillRecord | undefined }[] = [];

  constructor(shards: number, base: readonly KillRecord[], operation: number) {
    this.shards = shards;
    this.#records = new Map(base.map((record) => [record.id, record]));
    this.#steps = [{ operation, digests: digestsOf(base, shards) }];
  }

  /** The records after all operations, the one in doubt included. */
  get records(): Records {
    return this.#records;
  }

  get last(): Step {
    return this.#steps.at(-1) as Step;
  }

  /** Without the last operation. */
  get beforeLast(): Digests {
    return (this.#steps.at(-2) ?? this.last).digests;
  }

  apply(number: number, operation: Operation): void {
    const sums = [...this.last.digests];
    this.#undo = [];
    for (const [id, after] of changeBy(operation, this.#records)) {
      const before = this.#records.get(id);
      this.#undo.push({ id, before });
      const index = shardIndex(id, this.shards);
      const less = before === undefined ? 0n : hashOf(before);
      const more = after === undefined ? 0n : hashOf(after);
      sums[index] = ((sums[index] ?? 0n) + LANE - less + more) % LANE;
      if (after === undefined) this.#records.delete(id);
      else this.#records.set(id, after);
    }
    this.#steps.push({ operation: number, digests: sums });
  }

  /** Takes the last operation back: it turned out that it never happened. */
  takeBack(): void {
    this.#steps.pop();
    for (const { id, before } of this.#undo) {
      if (before === undefined) this.#records.delete(id);
      else this.#records.set(id, before);
    }
    this.#undo = [];
  }

  /** Where among the states the last operation with at most this number lies. */
  positionOf(operation: number): number {
    const after = this.#steps.findIndex((step) => step.operation > operation);
    return (after < 0 ? this.#steps.length : after) - 1;
  }

  /**
   * The first position from `from` on, shard by shard, at which the slot's records had these digests;
   * undefined when a shard never looked like that.
   */
  find(digests: Digests, from: readonly number[]): readonly number[] | undefined {
    const found = digests.map((digest, shard) =>
      this.#steps.findIndex(
        (step, index) => index >= (from[shard] ?? 0) && step.digests[shard] === digest,
      ),
    );
    return found.includes(-1) ? undefined : found;
  }
}
