/**
 * Holds the invariants at each step of an exploration. It shares the formats' parsers with core, the
 * reference model instead of its fold, and knows by itself what every version must hold.
 */
import {
  canonicalJson,
  type Exclusion,
  type LogTransaction,
  manifestKey,
  type Pointer,
  parseManifest,
  parsePointer,
  pointerKey,
  type Run,
  runIdOfKey,
  type SegmentContent,
  type ShardRef,
  type SnapshotManifest,
  stampSequence,
  type VersionKey,
  versionOfKey,
} from "@silt/core";
import { applyRun, type ReferenceModel } from "../reference-model.ts";
import { decodeContent } from "../simulator/fold-engine.ts";
import { demand } from "../simulator/violation.ts";
import type { Call } from "./call.ts";
import { HintCalls } from "./lease-calls.ts";
import { LogItems } from "./log-calls.ts";
import { keysIn, objectIn, objectName, type StoredBytes } from "./object-calls.ts";
import { type Vocabulary, valueIn, type World } from "./world.ts";

export interface Committed {
  readonly pointer: Pointer;
  readonly manifest: SnapshotManifest;
}

export const isExcluded = (excluded: readonly Exclusion[], sequence: number): boolean =>
  excluded.some(({ from, to }) => from <= sequence && sequence <= to);

const isOpen = ({ cause, retriedBy }: Exclusion) => cause === "poison" && retriedBy === null;

/** Records in a form that can be compared. */
const asText = (model: ReferenceModel) =>
  canonicalJson([...model].sort(([a], [b]) => (a < b ? -1 : 1)));

export class Checker {
  readonly shard: ShardRef;
  readonly items: LogItems;
  readonly hints: HintCalls;
  readonly #vocabulary: Vocabulary;
  readonly #pointerName: number;
  /** All versions up to a pointer, oldest first, by the number of the pointer's content. */
  readonly #chains = new Map<number, readonly Committed[]>();
  /** What bundles mean, by the hash they were registered with; they may be gone by now. Null for a damaged one. */
  readonly #contents = new Map<string, SegmentContent | null>();
  readonly #sound = new Set<string>();
  readonly #pointers = new Map<number, Pointer>();
  readonly #manifests = new Map<StoredBytes, SnapshotManifest>();
  readonly #runNames: number[] = [];

  constructor(vocabulary: Vocabulary, shard: ShardRef, start: World) {
    this.shard = shard;
    this.#vocabulary = vocabulary;
    this.items = new LogItems(vocabulary);
    this.hints = new HintCalls(vocabulary);
    this.#pointerName = objectName(vocabulary, pointerKey(shard));
    this.#begin(start);
  }

  /** Takes the versions and runs that are there for what they are. */
  #begin(start: World): void {
    for (const run of this.runsIn(start)) this.#learn(start, run);
    const chain: Committed[] = [];
    let pointer: Pointer | undefined = this.pointerIn(start);
    let manifest = this.#manifestAt(start, pointer.manifest.key);
    const last = pointer;
    while (manifest !== undefined) {
      chain.unshift({ pointer: pointer ?? last, manifest });
      pointer = undefined;
      const parent: string | undefined = manifest.parent?.manifest.key;
      manifest = parent === undefined ? undefined : this.#manifestAt(start, parent);
    }
    this.#chains.set(valueIn(start, this.#pointerName), chain);
  }

  #manifestAt(world: World, key: string): SnapshotManifest | undefined {
    const found = objectIn(this.#vocabulary, world, key);
    if (found === undefined) return undefined;
    const known = this.#manifests.get(found) ?? parseManifest(found.bytes, key);
    this.#manifests.set(found, known);
    return known;
  }

  #learn(world: World, { runId, delta }: Run): void {
    if (this.#contents.has(delta.sha256)) return;
    const found = objectIn(this.#vocabulary, world, delta.key);
    demand(found !== undefined, "I2", `run ${runId} is registered, but its bundle is gone`);
    this.#contents.set(
      delta.sha256,
      found.etag === delta.sha256 ? decodeContent(found.bytes) : null,
    );
  }

  pointerIn(world: World): Pointer {
    return this.#pointerOf(valueIn(world, this.#pointerName));
  }

  #pointerOf(value: number): Pointer {
    const { bytes } = this.#vocabulary.valueOf(value) as StoredBytes;
    const known = this.#pointers.get(value) ?? parsePointer(bytes, "pointer");
    this.#pointers.set(value, known);
    return known;
  }

  /** All versions that were ever committed, oldest first. */
  chainIn(world: World): readonly Committed[] {
    return this.#chains.get(valueIn(world, this.#pointerName)) ?? [];
  }

  runsIn(world: World): readonly Run[] {
    const runs: Run[] = [];
    for (let sequence = 1; ; sequence++) {
      const name = this.#runNames[sequence] ?? this.items.runName(this.shard, sequence);
      this.#runNames[sequence] = name;
      const run = this.items.at<Run>(world, name);
      if (run === undefined) return runs;
      runs.push(run);
    }
  }

  /** What a call did to the world. */
  observe(before: World, after: World, { detail }: Call, by: string): void {
    switch (detail.kind) {
      case "put":
        if (valueIn(before, this.#pointerName) !== valueIn(after, this.#pointerName)) {
          this.#flipped(before, after);
        }
        return;
      case "delete":
        this.#deleted(before, detail.key);
        return;
      case "commit":
        if (before !== after) this.#registered(after, detail.transaction);
        return;
      case "retire":
        this.#retired(before, after, detail.version, by);
        return;
      case "raise": {
        const { version, appliedThrough } = this.pointerIn(after);
        const { applied } = detail;
        const isTrue = applied.version <= version && applied.appliedThrough <= appliedThrough;
        demand(
          isTrue,
          "I4",
          `APPLIED is raised to ${applied.version}, the pointer is at ${version}`,
        );
        return;
      }
      default:
    }
  }

  #flipped(before: World, after: World): void {
    const value = valueIn(after, this.#pointerName);
    const chain = this.chainIn(before);
    const old = this.pointerIn(before);
    const pointer = this.#pointerOf(value);
    const head = this.items.head(after, this.shard);
    const rises =
      pointer.version === old.version + 1 &&
      pointer.parentCommitId === old.commitId &&
      pointer.epoch > old.epoch &&
      pointer.appliedThrough >= old.appliedThrough &&
      pointer.appliedThrough <= (head?.sequence ?? 0) &&
      pointer.ancestors.at(-1)?.commitId === old.commitId;
    const from = `version ${old.version} epoch ${old.epoch} through ${old.appliedThrough}`;
    const to = `version ${pointer.version} epoch ${pointer.epoch} through ${pointer.appliedThrough}`;
    demand(rises, "I4", `the flip goes from ${from} to ${to}`);
    this.#checkPresent(after, pointer.manifest.key, pointer.manifest.sha256);
    const manifest = this.#manifestAt(after, pointer.manifest.key) as SnapshotManifest;
    demand(
      manifest.parentManifestSha256 === old.manifest.sha256 &&
        manifest.commitId === pointer.commitId,
      "I4",
      `the manifest of version ${pointer.version} does not follow version ${old.version}`,
    );
    for (const { object } of manifest.segments)
      this.#checkPresent(after, object.key, object.sha256);
    const applied = this.runsIn(after).slice(0, pointer.appliedThrough);
    const checked = [pointer.manifest, ...applied.map(({ delta }) => delta)];
    const name = checked.map(({ sha256 }) => sha256).join();
    if (!this.#sound.has(name)) {
      this.#checkContent(after, pointer, manifest, chain.at(-1)?.manifest.excluded ?? []);
      this.#sound.add(name);
    }
    if (!this.#chains.has(value)) this.#chains.set(value, [...chain, { pointer, manifest }]);
  }

  #checkPresent(world: World, key: string, sha256: string): void {
    const found = objectIn(this.#vocabulary, world, key);
    demand(found?.etag === sha256, "I1", `the flip names ${key}, which is not there`);
  }

  /** I2: the version holds what the log says, by the reference model. */
  #checkContent(
    world: World,
    { version, appliedThrough }: Pointer,
    { segments, excluded }: SnapshotManifest,
    before: readonly Exclusion[],
  ): void {
    for (const { from, to } of before) {
      const kept = excluded.some((one) => one.from === from && one.to === to);
      demand(kept, "I2", `version ${version} forgets the exclusion of ${from} to ${to}`);
    }
    const meant = this.modelOf(world, appliedThrough, excluded);
    const seen: ReferenceModel = new Map();
    for (const { object } of segments) {
      const { bytes } = objectIn(this.#vocabulary, world, object.key) as StoredBytes;
      applyRun(seen, decodeContent(bytes));
    }
    demand(asText(seen) === asText(meant), "I2", `version ${version} is not the fold of its log`);
  }

  /** The records after the runs up to `through` that are not excluded. */
  modelOf(world: World, through: number, excluded: readonly Exclusion[]): ReferenceModel {
    const model: ReferenceModel = new Map();
    for (const run of this.runsIn(world)) {
      if (run.sequence > through) break;
      const content = this.#contents.get(run.delta.sha256);
      if (isExcluded(excluded, run.sequence)) {
        const cause = excluded.find(({ from, to }) => from <= run.sequence && run.sequence <= to);
        const isTrue = cause?.cause === "rollback" || content === null;
        demand(isTrue, "I2", `run ${run.sequence} is excluded as poison, but it is sound`);
        continue;
      }
      demand(!!content, "I2", `run ${run.sequence} is damaged, but was applied`);
      applyRun(model, stampSequence(content, run.sequence));
    }
    return model;
  }

  contentOf(run: Run): SegmentContent | null | undefined {
    return this.#contents.get(run.delta.sha256);
  }

  #registered(after: World, { appends }: LogTransaction): void {
    for (const run of appends.flatMap((append) => append.runs)) {
      const found = objectIn(this.#vocabulary, after, run.delta.key);
      demand(
        found?.etag === run.delta.sha256,
        "I6",
        `run ${run.sequence} is registered, but its bundle ${run.delta.key} is gone`,
      );
      this.#learn(after, run);
      const again = this.runsIn(after).filter(
        ({ runId, source }) => runId === run.runId || (source !== null && source === run.source),
      );
      const numbers = again.map(({ sequence }) => sequence).join(" and ");
      demand(again.length === 1, "I2", `one write (${run.source}) is registered as ${numbers}`);
    }
  }

  #retired(before: World, after: World, key: VersionKey, by: string): void {
    const { version, commitId } = key;
    const pointer = this.pointerIn(before);
    const isCurrent = pointer.version === version && pointer.commitId === commitId;
    demand(!isCurrent, "I6", `${by} gives up version ${version}, which is the current one`);
    const item = this.items.version(after, this.shard, key);
    const isHeld = item?.retired === true && item.pins.length > 0;
    demand(!isHeld, "I6", `${by} gives up version ${version}, which is pinned`);
  }

  /** Keys that the current version, or one that is not given up, consists of. */
  neededIn(world: World): ReadonlySet<string> {
    const keys = new Set<string>();
    const chain = this.chainIn(world);
    for (const [index, { manifest }] of chain.entries()) {
      const item = this.items.version(world, this.shard, manifest);
      if (item?.retired === true && index < chain.length - 1) continue;
      keys.add(manifestKey(this.shard, manifest.version, manifest.commitId));
      for (const { object } of manifest.segments) keys.add(object.key);
    }
    return keys;
  }

  /** I6 */
  #deleted(before: World, key: string): void {
    const runId = runIdOfKey(this.shard, key);
    if (runId !== undefined) {
      this.#bundleDeleted(before, runId);
      return;
    }
    if (key.includes("/plans/")) return;
    const version = versionOfKey(this.shard, key);
    demand(version !== undefined, "I6", `${key} is deleted`);
    const { version: current } = this.pointerIn(before);
    demand(
      version.version <= current,
      "I6",
      `${key} is deleted, but the pointer is at ${current}: its attempt may still be committed`,
    );
    demand(!this.neededIn(before).has(key), "I6", `${key} is deleted, but a version lists it`);
  }

  #bundleDeleted(before: World, runId: string): void {
    const state = this.items.runId(before, this.shard, runId);
    demand(
      state.state !== "absent",
      "I6",
      `the bundle of ${runId} is deleted, but its writer can still register it`,
    );
    if (state.state !== "registered") return;
    const { sequence } = state;
    const current = this.chainIn(before).at(-1)?.manifest;
    demand(
      sequence <= (current?.appliedThrough ?? 0),
      "I6",
      `the bundle of run ${sequence} is deleted, but it is pending`,
    );
    const open = (current?.excluded ?? []).filter(isOpen);
    demand(
      !isExcluded(open, sequence),
      "I6",
      `the bundle of run ${sequence} is deleted, but it is excluded and may come back`,
    );
  }

  /** Objects that are left of a shard, without the prefix that all share. */
  leftIn(world: World, prefix: string): readonly string[] {
    return keysIn(this.#vocabulary, world, prefix);
  }
}
