/** The run log as calls on a world: one name for each of its items, as a table would hold them. */
import {
  type Applied,
  assert,
  type CommitOutcome,
  canonicalJson,
  type Guard,
  type GuardKey,
  type Head,
  type LogTransaction,
  newVersionItem,
  type Pin,
  type PinOutcome,
  type RetireOutcome,
  type Run,
  type RunIdState,
  type ShardRef,
  SiltError,
  shardPartition,
  type VersionItem,
  type VersionKey,
  type VersionRef,
} from "@silt/core";
import { type Call, type CallDetail, OTHER, reads, type Touch, writes } from "./call.ts";
import { type Vocabulary, valueIn, type World, withValue } from "./world.ts";

const padded = (number: number) => String(number).padStart(16, "0");
const registeredAt = new Map<number, RunIdState>();

/** One object a number, so that its own number is looked up once. */
function registeredAs(sequence: number): RunIdState {
  const state = registeredAt.get(sequence) ?? { state: "registered", sequence };
  registeredAt.set(sequence, state);
  return state;
}
const itemName = (shard: ShardRef, item: string) => `log ${shardPartition(shard)} ${item}`;
const versionItem = ({ version, commitId }: VersionKey) => `VERSION#${padded(version)}-${commitId}`;
const guardName = ({ family, uri }: GuardKey) => `guard ${family} ${uri}`;
const byUtf8 = (a: Guard, b: Guard) => Buffer.compare(Buffer.from(a.uri), Buffer.from(b.uri));
const ABSENT: RunIdState = { state: "absent" };

/** What the log of a world holds, for those who only look. */
export class LogItems {
  readonly vocabulary: Vocabulary;
  readonly #names = new WeakMap<ShardRef, Map<string, number>>();
  readonly #ids = new WeakMap<object, number>();

  constructor(vocabulary: Vocabulary) {
    this.vocabulary = vocabulary;
  }

  name(shard: ShardRef, item: string): number {
    let names = this.#names.get(shard);
    if (names === undefined) {
      names = new Map();
      this.#names.set(shard, names);
    }
    let id = names.get(item);
    if (id === undefined) {
      id = this.vocabulary.nameId(itemName(shard, item));
      names.set(item, id);
    }
    return id;
  }

  /** The number of a thing; equal things have the same. */
  id(thing: object): number {
    let id = this.#ids.get(thing);
    if (id === undefined) {
      id = this.vocabulary.valueId(canonicalJson(thing), thing);
      this.#ids.set(thing, id);
    }
    return id;
  }

  at<T>(world: World, name: number): T | undefined {
    return this.vocabulary.valueOf(valueIn(world, name)) as T | undefined;
  }

  with(world: World, name: number, thing: object): World {
    return withValue(world, name, this.id(thing));
  }

  head(world: World, shard: ShardRef): Head | undefined {
    return this.at(world, this.name(shard, "HEAD"));
  }

  runName(shard: ShardRef, sequence: number): number {
    return this.name(shard, `RUN#${padded(sequence)}`);
  }

  run(world: World, shard: ShardRef, sequence: number): Run | undefined {
    return this.at(world, this.runName(shard, sequence));
  }

  runId(world: World, shard: ShardRef, runId: string): RunIdState {
    return this.at(world, this.name(shard, `RUNID#${runId}`)) ?? ABSENT;
  }

  version(world: World, shard: ShardRef, key: VersionKey): VersionItem | undefined {
    return this.at(world, this.name(shard, versionItem(key)));
  }

  /** All things whose name begins so, ascending by name. */
  under<T>({ entries }: World, prefix: string): readonly T[] {
    const found: [string, T][] = [];
    for (let at = 0; at < entries.length; at += 2) {
      const name = this.vocabulary.nameOf(entries[at] as number);
      if (!name.startsWith(prefix)) continue;
      found.push([name, this.vocabulary.valueOf(entries[at + 1] as number) as T]);
    }
    return found.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, thing]) => thing);
  }
}

export class LogCalls {
  readonly #items: LogItems;

  constructor(vocabulary: Vocabulary) {
    this.#items = new LogItems(vocabulary);
  }

  #query<T>(
    name: string,
    about: string,
    touches: readonly Touch[],
    look: (world: World) => T,
  ): Call<T> {
    return {
      name: `log.${name}`,
      about,
      touches,
      detail: OTHER,
      apply: (world) => {
        const found = look(world);
        return { world, answer: JSON.stringify(found) ?? "", value: () => found };
      },
    };
  }

  /** One item as it is. */
  #lookUp<T>(name: string, item: number, touch: Touch): Call<T | undefined> {
    return {
      name: `log.${name}`,
      about: "",
      touches: [touch],
      detail: OTHER,
      apply: (world) => {
        const value = valueIn(world, item);
        const thing = this.#items.vocabulary.valueOf(value) as T | undefined;
        return { world, answer: `#${value}`, value: () => thing };
      },
    };
  }

  #change<T>(
    name: string,
    about: string,
    touches: readonly Touch[],
    act: (world: World) => readonly [World, T],
    detail: CallDetail = OTHER,
  ): Call<T> {
    return {
      name: `log.${name}`,
      about,
      touches,
      detail,
      apply: (world) => {
        const [next, result] = act(world);
        return { world: next, answer: JSON.stringify(result) ?? "", value: () => result };
      },
    };
  }

  createShard(shard: ShardRef, head: Head): Call<"created" | "exists"> {
    const name = this.#items.name(shard, "HEAD");
    return this.#change("createShard", "", [writes("head")], (world) =>
      valueIn(world, name) === 0
        ? [this.#items.with(world, name, head), "created"]
        : [world, "exists"],
    );
  }

  readHead(shard: ShardRef): Call<Head | undefined> {
    return this.#lookUp("readHead", this.#items.name(shard, "HEAD"), reads("head"));
  }

  readHeads(shards: readonly ShardRef[]): Call<readonly (Head | undefined)[]> {
    return this.#query("readHeads", "", [reads("head")], (world) =>
      shards.map((shard) => this.#items.head(world, shard)),
    );
  }

  commit(transaction: LogTransaction): Call<CommitOutcome> {
    checkTransaction(transaction);
    const runs = transaction.appends.flatMap((append) => append.runs);
    const touches = [
      writes("head"),
      writes("runs"),
      writes("guard"),
      ...runs.map(({ runId }) => writes("run-id", runId)),
    ];
    const about = runs.map(({ runId, sequence }) => `run ${sequence} ${runId.slice(-6)}`).join(" ");
    const act = (world: World): readonly [World, CommitOutcome] => {
      const refusal = this.#refusalOf(world, transaction);
      return refusal === undefined
        ? [this.#committed(world, transaction), { outcome: "committed" }]
        : [world, refusal];
    };
    return this.#change("commit", about, touches, act, { kind: "commit", transaction });
  }

  /** The first condition that fails, in the order that the port promises. */
  #refusalOf(world: World, { appends, guards }: LogTransaction): CommitOutcome | undefined {
    const items = this.#items;
    const found = appends.map((append) => ({ ...append, head: items.head(world, append.shard) }));
    const without = found.find(({ head }) => head === undefined);
    if (without !== undefined) return { outcome: "no-head", shard: without.shard };
    for (const { shard, runs } of appends) {
      for (const { runId } of runs) {
        const state = items.runId(world, shard, runId);
        if (state.state !== "absent") return { outcome: "run-known", runId, state };
      }
    }
    for (const { runs, head } of found) {
      const { floor } = head as Head;
      const below = runs.find(({ runId }) => runId < floor);
      if (below !== undefined) return { outcome: "below-floor", runId: below.runId, floor };
    }
    for (const { expectedRev, next } of guards) {
      const guard = items.at<Guard>(world, items.vocabulary.nameId(guardName(next)));
      if ((guard?.rev ?? 0) !== expectedRev) return { outcome: "guard-moved", guard };
    }
    for (const { shard, expected, head } of found) {
      if (items.id(head as Head) !== items.id(expected)) {
        return { outcome: "head-moved", shard, head: head as Head };
      }
    }
    return undefined;
  }

  #committed(world: World, { appends, guards }: LogTransaction): World {
    const items = this.#items;
    let next = world;
    for (const { shard, next: head, runs } of appends) {
      next = items.with(next, items.name(shard, "HEAD"), head);
      for (const run of runs) {
        const { sequence, runId } = run;
        next = items.with(next, items.name(shard, `RUN#${padded(sequence)}`), run);
        next = items.with(next, items.name(shard, `RUNID#${runId}`), registeredAs(sequence));
      }
    }
    for (const { next: guard } of guards) {
      next = items.with(next, items.vocabulary.nameId(guardName(guard)), structuredClone(guard));
    }
    return next;
  }

  readRuns(
    shard: ShardRef,
    { after, limit }: { readonly after: number; readonly limit: number },
  ): Call<readonly Run[]> {
    const items = this.#items;
    return {
      name: "log.readRuns",
      about: `after ${after}, at most ${limit}`,
      touches: [reads("runs", "", after + limit)],
      detail: OTHER,
      apply: (world) => {
        const ids: number[] = [];
        while (ids.length < limit) {
          const id = valueIn(world, items.runName(shard, after + 1 + ids.length));
          if (id === 0) break;
          ids.push(id);
        }
        const value = () => ids.map((id) => items.vocabulary.valueOf(id) as Run);
        return { world, answer: ids.join(" "), value };
      },
    };
  }

  readRunIds(
    keys: readonly { readonly shard: ShardRef; readonly runId: string }[],
  ): Call<readonly RunIdState[]> {
    const touches = keys.map(({ runId }) => reads("run-id", runId));
    const about = keys.map(({ runId }) => runId.slice(-6)).join(" ");
    return this.#query("readRunIds", about, touches, (world) =>
      keys.map(({ shard, runId }) => this.#items.runId(world, shard, runId)),
    );
  }

  abandonRun(shard: ShardRef, runId: string): Call<"abandoned" | "registered"> {
    const name = this.#items.name(shard, `RUNID#${runId}`);
    const touches = [writes("run-id", runId)];
    return this.#change("abandonRun", runId.slice(-6), touches, (world) =>
      this.#items.runId(world, shard, runId).state === "registered"
        ? [world, "registered"]
        : [this.#items.with(world, name, { state: "abandoned" }), "abandoned"],
    );
  }

  readApplied(shard: ShardRef): Call<Applied | undefined> {
    const name = this.#items.name(shard, "APPLIED");
    return this.#lookUp("readApplied", name, reads("applied"));
  }

  raiseApplied(shard: ShardRef, applied: Applied): Call<void> {
    const name = this.#items.name(shard, "APPLIED");
    const about = `version ${applied.version}, through ${applied.appliedThrough}`;
    const detail = { kind: "raise", shard, applied } as const;
    const act = (world: World): readonly [World, undefined] => {
      const before = this.#items.at<Applied>(world, name);
      const isHigher = before === undefined || applied.version > before.version;
      return [isHigher ? this.#items.with(world, name, applied) : world, undefined];
    };
    return this.#change<void>("raiseApplied", about, [writes("applied")], act, detail);
  }

  #changeHead(name: string, shard: ShardRef, about: string, change: (head: Head) => Head) {
    return this.#change<void>(name, about, [writes("head")], (world) => {
      const head = this.#items.head(world, shard);
      if (head === undefined) {
        throw new SiltError("corrupt", `Cannot use "${shardPartition(shard)}": it has no HEAD`);
      }
      const next = change(head);
      return [this.#items.with(world, this.#items.name(shard, "HEAD"), next), undefined];
    });
  }

  announceExclusion(shard: ShardRef, commitId: string): Call<void> {
    return this.#changeHead("announceExclusion", shard, commitId.slice(0, 6), (head) => ({
      ...head,
      excluding: commitId,
    }));
  }

  resolveExclusion(shard: ShardRef, commitId: string): Call<void> {
    return this.#changeHead("resolveExclusion", shard, commitId.slice(0, 6), (head) => ({
      ...head,
      excluding: head.excluding === commitId ? null : head.excluding,
      excludeRev: head.excludeRev + 1,
    }));
  }

  pinVersion(
    shard: ShardRef,
    { version, commitId, manifest }: VersionRef,
    pin: Pin,
  ): Call<PinOutcome> {
    const key = { version, commitId };
    const name = this.#items.name(shard, versionItem(key));
    const about = `version ${version} for ${pin.owner}`;
    return this.#change<PinOutcome>("pinVersion", about, [writes("versions")], (world) => {
      const item = this.#items.at<VersionItem>(world, name) ?? newVersionItem(key);
      if (item.retired) return [world, { outcome: "retired" }];
      const held = item.pins.some(({ owner }) => owner === pin.owner);
      const pins = held ? item.pins : [...item.pins, pin];
      return [this.#items.with(world, name, { ...item, manifest, pins }), { outcome: "pinned" }];
    });
  }

  unpinVersion(shard: ShardRef, key: VersionKey, owner: string): Call<void> {
    const name = this.#items.name(shard, versionItem(key));
    const about = `version ${key.version} for ${owner}`;
    return this.#change<void>("unpinVersion", about, [writes("versions")], (world) => {
      const item = this.#items.at<VersionItem>(world, name);
      if (item === undefined) return [world, undefined];
      const pins = item.pins.filter((pin) => pin.owner !== owner);
      return [this.#items.with(world, name, { ...item, pins }), undefined];
    });
  }

  retireVersion(shard: ShardRef, { version, commitId }: VersionKey): Call<RetireOutcome> {
    const key = { version, commitId };
    const name = this.#items.name(shard, versionItem(key));
    const detail = { kind: "retire", shard, version: key } as const;
    const act = (world: World): readonly [World, RetireOutcome] => {
      const item = this.#items.at<VersionItem>(world, name) ?? newVersionItem(key);
      if (item.pins.length > 0) return [world, { outcome: "pinned" }];
      const next = this.#items.with(world, name, { ...item, retired: true });
      return [next, { outcome: "retired" }];
    };
    return this.#change("retireVersion", `version ${version}`, [writes("versions")], act, detail);
  }

  listVersions(
    shard: ShardRef,
    { after, limit }: { readonly after?: VersionKey; readonly limit: number },
  ): Call<readonly VersionItem[]> {
    const first = after === undefined ? "" : versionItem(after);
    return this.#query("listVersions", "", [reads("versions")], (world) =>
      this.#items
        .under<VersionItem>(world, itemName(shard, "VERSION#"))
        .filter((item) => versionItem(item) > first)
        .slice(0, limit),
    );
  }

  readGuard(key: GuardKey): Call<Guard | undefined> {
    const name = this.#items.vocabulary.nameId(guardName(key));
    return this.#query("readGuard", key.uri, [reads("guard")], (world) =>
      this.#items.at<Guard>(world, name),
    );
  }

  listGuards(
    family: string,
    { after, limit }: { readonly after?: string; readonly limit: number },
  ): Call<readonly Guard[]> {
    const isAfter = ({ uri }: Guard) =>
      after === undefined || Buffer.compare(Buffer.from(uri), Buffer.from(after)) > 0;
    return this.#query("listGuards", family, [reads("guard")], (world) =>
      [...this.#items.under<Guard>(world, `guard ${family} `)]
        .sort(byUtf8)
        .filter(isAfter)
        .slice(0, limit),
    );
  }
}

function checkTransaction({ appends }: LogTransaction): void {
  const partitions = new Set(appends.map(({ shard }) => shardPartition(shard)));
  assert(partitions.size === appends.length, "a transaction appends to a shard once");
  for (const { expected, next, runs } of appends) {
    for (const [index, run] of runs.entries()) {
      assert(run.sequence === expected.sequence + 1 + index, `run ${run.runId} is consecutive`);
    }
    assert(next.sequence === expected.sequence + runs.length, "HEAD ends at its last run");
  }
}
