/** Leases and hints as calls on a world. */
import {
  type AcquireOutcome,
  canonicalJson,
  type Hint,
  type Lease,
  type ShardRef,
  shardPartition,
} from "@silt/core";
import { type Call, type CallDetail, OTHER, reads, type Touch, writes } from "./call.ts";
import { type Vocabulary, valueIn, type World, withValue } from "./world.ts";

interface LeaseItem {
  readonly epoch: number;
  /** Null when the lease is free. */
  readonly holder: string | null;
  readonly expiresAtMs: number;
}

interface AcquireOptions {
  readonly holder: string;
  readonly ttlMs: number;
  readonly skewMs: number;
  readonly aboveEpoch: number;
}

export class LeaseCalls {
  readonly #vocabulary: Vocabulary;
  readonly #nowMs: () => number;

  constructor(vocabulary: Vocabulary, nowMs: () => number) {
    this.#vocabulary = vocabulary;
    this.#nowMs = nowMs;
  }

  #name(shard: ShardRef): number {
    return this.#vocabulary.nameId(`lease ${shardPartition(shard)}`);
  }

  #item(world: World, shard: ShardRef): LeaseItem | undefined {
    const value = valueIn(world, this.#name(shard));
    return this.#vocabulary.valueOf(value) as LeaseItem | undefined;
  }

  #with(world: World, shard: ShardRef, item: LeaseItem): World {
    const value = this.#vocabulary.valueId(canonicalJson(item), item);
    return withValue(world, this.#name(shard), value);
  }

  #isStill(world: World, lease: Lease): boolean {
    const item = this.#item(world, lease.shard);
    return item?.holder === lease.holder && item.epoch === lease.epoch;
  }

  #call<T>(
    name: string,
    about: string,
    touch: Touch,
    act: (world: World) => readonly [World, T],
    detail: CallDetail = OTHER,
  ): Call<T> {
    return {
      name: `leases.${name}`,
      about,
      touches: [touch],
      detail,
      apply: (world) => {
        const [next, result] = act(world);
        return { world: next, answer: JSON.stringify(result) ?? "", value: () => result };
      },
    };
  }

  acquire(
    shard: ShardRef,
    { holder, ttlMs, skewMs, aboveEpoch }: AcquireOptions,
  ): Call<AcquireOutcome> {
    const nowMs = this.#nowMs();
    const act = (world: World): readonly [World, AcquireOutcome] => {
      const item = this.#item(world, shard);
      if (item && item.holder !== null && nowMs <= item.expiresAtMs + skewMs) {
        const { holder: by, expiresAtMs } = item;
        return [world, { outcome: "held", by, expiresAtMs }];
      }
      const epoch = Math.max(item?.epoch ?? 0, aboveEpoch) + 1;
      const expiresAtMs = nowMs + ttlMs;
      const lease = { shard, holder, epoch, expiresAtMs };
      const next = this.#with(world, shard, { epoch, holder, expiresAtMs });
      return [next, { outcome: "acquired", lease }];
    };
    return this.#call("acquire", `for ${holder}`, writes("lease"), act, {
      kind: "acquire",
      shard,
    });
  }

  extend(lease: Lease, ttlMs: number): Call<"extended" | "lost"> {
    const expiresAtMs = this.#nowMs() + ttlMs;
    return this.#call("extend", `for ${lease.holder}`, writes("lease"), (world) => {
      if (!this.#isStill(world, lease)) return [world, "lost"];
      const { holder, epoch, shard } = lease;
      return [this.#with(world, shard, { holder, epoch, expiresAtMs }), "extended"];
    });
  }

  release(lease: Lease): Call<"released" | "lost"> {
    return this.#call("release", `of ${lease.holder}`, writes("lease"), (world) => {
      if (!this.#isStill(world, lease)) return [world, "lost"];
      const { epoch, expiresAtMs, shard } = lease;
      return [this.#with(world, shard, { epoch, expiresAtMs, holder: null }), "released"];
    });
  }

  read(shard: ShardRef): Call<Lease | undefined> {
    return this.#call("read", "", reads("lease"), (world) => {
      const item = this.#item(world, shard);
      if (item === undefined || item.holder === null) return [world, undefined];
      const { holder, epoch, expiresAtMs } = item;
      return [world, { shard, holder, epoch, expiresAtMs }];
    });
  }

  /** The same world, but time has gone by: whoever holds the lease has lost it to the next who asks. */
  expired(world: World, shard: ShardRef): World {
    const item = this.#item(world, shard);
    if (item === undefined || item.holder === null || item.expiresAtMs < 0) return world;
    return this.#with(world, shard, { ...item, expiresAtMs: Number.MIN_SAFE_INTEGER });
  }
}

export class HintCalls {
  readonly #vocabulary: Vocabulary;

  constructor(vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary;
  }

  #name(hint: Hint): number {
    return this.#vocabulary.nameId(`hint ${shardPartition(hint)}`);
  }

  isHinted(world: World, shard: ShardRef): boolean {
    return valueIn(world, this.#name(shard)) !== 0;
  }

  hinted(world: World, { collection, storeId, shard }: Hint): World {
    const hint = { collection, storeId, shard };
    return withValue(world, this.#name(hint), this.#vocabulary.valueId(canonicalJson(hint), hint));
  }

  send(hint: Hint): Call<void> {
    return {
      name: "hints.send",
      about: "",
      touches: [writes("hints")],
      detail: OTHER,
      apply: (world) => ({ world: this.hinted(world, hint), answer: "", value: () => undefined }),
    };
  }

  receive(limit: number): Call<readonly Hint[]> {
    return {
      name: "hints.receive",
      about: "",
      touches: [writes("hints", "taken")],
      detail: OTHER,
      apply: (world) => {
        const taken: Hint[] = [];
        let next = world;
        for (let at = 0; at < world.entries.length && taken.length < limit; at += 2) {
          const name = world.entries[at] as number;
          if (!this.#vocabulary.nameOf(name).startsWith("hint ")) continue;
          taken.push(this.#vocabulary.valueOf(world.entries[at + 1] as number) as Hint);
          next = withValue(next, name, 0);
        }
        return { world: next, answer: JSON.stringify(taken), value: () => taken };
      },
    };
  }
}
