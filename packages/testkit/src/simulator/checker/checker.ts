/**
 * Who watches: told of each effect the moment it happens, it holds the invariants against what it
 * knows by itself. It shares the formats' parsers with core and nothing else: contents come from
 * what writers meant, and versions are read as if each segment were one run of the reference model.
 */
import {
  type Applied,
  type Guard,
  type Lease,
  type LogTransaction,
  type PutCondition,
  parseManifest,
  parsePointer,
  type RegisteredRun,
  type SegmentContent,
  type ShardRef,
  type SnapshotManifest,
  sha256Of,
  shardPartition,
} from "@silt/core";
import { applyRun, type ReferenceModel } from "../../reference-model.ts";
import type { Actor } from "../actor.ts";
import { countsOf } from "../fold-engine.ts";
import type { SimulatedEngine } from "../simulated-engine.ts";
import type { Simulation } from "../simulation.ts";
import { demand, Violation } from "../violation.ts";
import { checkDelete, checkRetry, type Matches } from "./decisions.ts";
import { DeletionChecker } from "./deletions.ts";
import { ReadChecker } from "./reads.ts";
import { differenceOf, isExcluded, type KnownVersion, ShardHistory } from "./shard-history.ts";

const POINTER_NAME = "/latest-pointer.json";

export class Checker {
  readonly histories = new Map<string, ShardHistory>();
  readonly reads: ReadChecker;
  readonly deletions: DeletionChecker;
  readonly #sim: Simulation;
  readonly #engine: SimulatedEngine;
  /** What each run id's writer meant. */
  readonly #meant = new Map<string, SegmentContent>();
  readonly #guards = new Map<string, Guard>();
  readonly #deleting = new Map<Actor, Matches>();
  readonly #deletes = new Map<SegmentContent, Matches>();
  readonly #registered = new Map<SegmentContent, string>();
  readonly #contents = new Map<string, SegmentContent>();

  constructor(sim: Simulation, engine: SimulatedEngine) {
    this.#sim = sim;
    this.#engine = engine;
    this.reads = new ReadChecker(sim);
    this.deletions = new DeletionChecker(sim);
  }

  historyOf(shard: ShardRef): ShardHistory {
    return this.histories.get(shardPartition(shard)) as ShardHistory;
  }

  /** Begins to watch a shard as its creation left it. */
  async watch(shard: ShardRef, key: string): Promise<void> {
    const head = await this.#sim.log.readHead(shard);
    if (head === undefined) throw new Error(`No HEAD of ${shard.shard}`);
    const history = new ShardHistory(shard, head);
    this.histories.set(shardPartition(shard), history);
    const pointer = parsePointer(this.#bytesOf(key), key);
    const manifest = parseManifest(this.#bytesOf(pointer.manifest.key), pointer.manifest.key);
    history.addVersion({ pointer, manifest, model: new Map() });
  }

  #bytesOf(key: string): Uint8Array {
    const { objects, weather } = this.#sim;
    const stored = weather.hurt.get(key) ?? objects.stored.get(key);
    if (stored === undefined) throw new Violation("I1", `object ${this.#sim.short(key)} is gone`);
    return stored.bytes;
  }

  /** A bundle was made from this content. */
  built(actor: Actor, runId: string, content: SegmentContent): void {
    this.#meant.set(runId, content);
    const matches = this.#deleting.get(actor);
    if (matches !== undefined) this.#deletes.set(content, matches);
  }

  /** What an actor writes from now on deletes exactly what matches; until it is told otherwise. */
  deletes(actor: Actor, matches: Matches | undefined): void {
    if (matches === undefined) this.#deleting.delete(actor);
    else this.#deleting.set(actor, matches);
  }

  /** An object was stored under a condition. */
  async stored(actor: Actor, key: string, condition: PutCondition): Promise<void> {
    try {
      if (key.endsWith(POINTER_NAME)) return await this.#flipped(actor, key);
      if (key.includes("/plans/")) this.deletions.planned(key, this.#bytesOf(key));
      const mayChange = key.endsWith("/policy.json");
      demand(mayChange || "ifAbsent" in condition, "I1", `${key} is written once`);
    } catch (error) {
      this.#sim.fail(error);
    }
  }

  /** Epochs of leases only rise, also across releases. */
  leased({ shard, epoch }: Lease): void {
    const history = this.historyOf(shard);
    demand(
      epoch > history.leasedEpoch,
      "I4",
      () => `a lease has epoch ${epoch}, one before it had ${history.leasedEpoch}`,
    );
    history.leasedEpoch = epoch;
  }

  announced(shard: ShardRef, commitId: string): void {
    this.historyOf(shard).announced = commitId;
  }

  resolved(shard: ShardRef, commitId: string): void {
    const history = this.historyOf(shard);
    if (history.announced === commitId) history.announced = null;
  }

  /** Somebody may from now on roll back to this version. */
  rollbackAsked(shard: ShardRef, toVersion: number): void {
    this.historyOf(shard).rollbackTargets.add(toVersion);
  }

  /** Runs got their sequence numbers: from here on they may not be lost. */
  committed(_actor: Actor, { appends, guards }: LogTransaction): void {
    for (const { next } of guards) this.#guardMoves(next);
    for (const { shard, runs, next } of appends) {
      const history = this.historyOf(shard);
      for (const run of runs) {
        const content = this.#meant.get(run.runId);
        demand(content !== undefined, "I2", () => `run ${run.runId} was never built`);
        const before = this.#registered.get(content);
        demand(
          before === undefined,
          "I2",
          () => `one write is registered twice: ${before} and ${run.runId}`,
        );
        this.#registered.set(content, run.runId);
        const matches = this.#deletes.get(content);
        if (matches !== undefined) checkDelete(history, content, matches);
        if (run.retryOf !== null) checkRetry(history, run.retryOf, content);
        history.append(run, content);
        this.#checkBundle(run.delta.key, run.delta.sha256);
      }
      history.head = next;
    }
  }

  /** Guards move on by one, and never back to an older state of their source. */
  #guardMoves(next: Guard): void {
    const before = this.#guards.get(next.uri);
    demand(
      next.rev === (before?.rev ?? 0) + 1,
      "I7",
      () => `the guard of ${next.uri} goes from revision ${before?.rev ?? 0} to ${next.rev}`,
    );
    const { sources } = this.#sim;
    const newest = sources.lastNumberOf(next.uri, next.sourceDigest);
    const known = before === undefined ? 0 : sources.firstNumberOf(next.uri, before.sourceDigest);
    demand(
      newest >= known,
      "I7",
      () => `the guard of ${next.uri} goes back to an older state of its source`,
    );
    this.#guards.set(next.uri, next);
  }

  #checkBundle(key: string, sha256: string): void {
    const { objects, weather } = this.#sim;
    if (weather.everDamaged.has(key) || weather.everMissing.has(key)) return;
    const stored = objects.stored.get(key);
    demand(
      stored !== undefined,
      "I2",
      () => `bundle ${this.#sim.short(key)} was registered, but is not there`,
    );
    demand(
      sha256Of(stored.bytes) === sha256,
      "I2",
      () => `bundle ${this.#sim.short(key)} is not what was registered`,
    );
  }

  /** A write was acknowledged: its runs must be registered, exactly these contents once each. */
  acknowledged(shardOf: (run: RegisteredRun) => ShardRef, runs: readonly RegisteredRun[]): void {
    for (const run of runs) {
      const history = this.historyOf(shardOf(run));
      const known = history.runs[run.sequence - 1];
      demand(
        known?.run.runId === run.runId,
        "I2",
        () => `run ${run.runId} was acknowledged as number ${run.sequence}, which it does not have`,
      );
      history.acknowledgedThrough = Math.max(history.acknowledgedThrough, run.sequence);
    }
  }

  /** What an operation says of its flip must be so: "lost" is final, and a third flip on top is no loss (F49). */
  reported(actor: Actor, shard: ShardRef, outcome: string): void {
    const { versions } = this.historyOf(shard);
    const ours = versions.some(({ pointer }) => actor.attempts.has(pointer.manifest.key));
    actor.attempts.clear();
    demand(
      !(outcome === "lost" && ours),
      "I4",
      "an operation says that it lost, but its version was committed",
    );
    demand(
      !(outcome === "flipped" && !ours),
      "I4",
      "an operation says that it flipped, but it did not",
    );
  }

  appliedRaised(shard: ShardRef, applied: Applied): void {
    const { version } = this.historyOf(shard).current.pointer;
    if (applied.version <= version) return;
    this.#sim.fail(
      new Violation("I4", `APPLIED is raised to ${applied.version}, the pointer is at ${version}`),
    );
  }

  async #flipped(actor: Actor, key: string): Promise<void> {
    const pointer = parsePointer(this.#bytesOf(key), key);
    const history = this.historyOf(pointer);
    const before = history.current;
    this.#checkChain(before, pointer);
    const manifestRef = pointer.manifest;
    this.#checkObject(manifestRef.key, manifestRef.bytes, manifestRef.sha256);
    const manifest = parseManifest(this.#bytesOf(manifestRef.key), manifestRef.key);
    this.#checkManifest(actor, before, pointer, manifest);
    const seen = await this.#contentOf(manifest);
    const model = history.modelAt(manifest.excluded, pointer.appliedThrough, before);
    const difference = differenceOf(seen, model);
    demand(
      difference === undefined,
      "I2",
      () => `version ${pointer.version} of ${pointer.shard}: ${difference}`,
    );
    history.addVersion({ pointer, manifest, model });
    this.#sim.count("flips");
    this.#sim.tell(
      () =>
        `    version ${pointer.version} of ${pointer.collection}/${pointer.shard} applies ${pointer.appliedThrough} runs, ${manifest.segments.length} segments`,
    );
  }

  /** I4 */
  #checkChain({ pointer: before, manifest }: KnownVersion, pointer: KnownVersion["pointer"]): void {
    demand(
      pointer.version === before.version + 1,
      "I4",
      () => `version ${pointer.version} follows ${before.version}`,
    );
    demand(
      pointer.parentCommitId === before.commitId,
      "I4",
      () => `version ${pointer.version} has another parent than the version before it`,
    );
    demand(
      pointer.epoch > before.epoch,
      "I4",
      () => `epoch ${pointer.epoch} follows ${before.epoch}`,
    );
    demand(
      pointer.appliedThrough >= before.appliedThrough,
      "I4",
      () => `appliedThrough goes from ${before.appliedThrough} to ${pointer.appliedThrough}`,
    );
    const last = pointer.ancestors.at(-1);
    demand(last?.commitId === manifest.commitId, "I4", "the last ancestor is not the parent");
  }

  /** I1, and what an exclusion may be. */
  #checkManifest(
    actor: Actor,
    before: KnownVersion,
    pointer: KnownVersion["pointer"],
    manifest: SnapshotManifest,
  ): void {
    const fields = ["version", "commitId", "epoch", "appliedThrough", "runsHash"] as const;
    for (const field of fields)
      demand(
        manifest[field] === pointer[field],
        "I4",
        `the manifest's ${field} is not the pointer's`,
      );
    demand(
      manifest.parentManifestSha256 === before.pointer.manifest.sha256,
      "I4",
      "the manifest names another parent",
    );
    let through = 0;
    for (const { object, firstSequence, lastSequence } of manifest.segments) {
      this.#checkObject(object.key, object.bytes, object.sha256);
      demand(
        firstSequence > through && lastSequence >= firstSequence,
        "I1",
        "segments overlap or are out of order",
      );
      through = lastSequence;
    }
    demand(through <= pointer.appliedThrough, "I1", "a segment holds runs that are not applied");
    this.#checkExclusions(actor, before, manifest);
  }

  #checkExclusions(actor: Actor, before: KnownVersion, manifest: SnapshotManifest): void {
    const history = this.historyOf(manifest);
    const poisoned: number[] = [];
    for (const old of before.manifest.excluded) {
      const kept = manifest.excluded.some(({ from, to }) => from === old.from && to === old.to);
      demand(kept, "I2", () => `the exclusion of ${old.from} to ${old.to} is forgotten`);
    }
    for (const { from, to, cause } of manifest.excluded) {
      for (let sequence = from; sequence <= to; sequence++) {
        if (isExcluded(before.manifest.excluded, sequence)) continue;
        this.#sim.count(cause === "poison" ? "exclusions" : "rolled back runs");
        if (cause === "poison") poisoned.push(sequence);
        else this.#checkUndone(history, before, manifest, sequence);
      }
    }
    this.#checkPoison(actor, history, before, poisoned);
  }

  /**
   * A sick machine may take one run alone for poison, and all of them as long as none was ever good; but
   * not several while a bundle that is known to be good reads badly as well (F57).
   */
  #checkPoison(
    actor: Actor,
    { runs }: ShardHistory,
    { pointer, manifest }: KnownVersion,
    poisoned: readonly number[],
  ): void {
    const { weather } = this.#sim;
    const sound = poisoned.filter(
      (sequence) => !weather.everDamaged.has(runs[sequence - 1]?.run.delta.key ?? ""),
    );
    const known = runs
      .slice(0, pointer.appliedThrough)
      .some(({ run }) => !isExcluded(manifest.excluded, run.sequence));
    const couldKnow = poisoned.length > 1 && known && weather.isGarbled(actor);
    demand(
      sound.length === 0 || (weather.everGarbled && !couldKnow),
      "I2",
      () => `run ${sound[0]} is excluded, but its bundle never was damaged`,
    );
  }

  /** A rollback undoes all runs after its target, and only somebody who asked for it can have done it. */
  #checkUndone(
    history: ShardHistory,
    before: KnownVersion,
    manifest: SnapshotManifest,
    sequence: number,
  ): void {
    const target = history.versions.find(
      ({ pointer }) =>
        history.rollbackTargets.has(pointer.version) &&
        pointer.appliedThrough < sequence &&
        sequence <= before.pointer.appliedThrough &&
        everyRun(pointer.appliedThrough, before.pointer.appliedThrough, (run) =>
          isExcluded(manifest.excluded, run),
        ),
    );
    demand(
      target !== undefined,
      "I2",
      () => `run ${sequence} is undone, but nobody asked for that`,
    );
  }

  #checkObject(key: string, bytes: number, sha256: string): void {
    const { weather, objects } = this.#sim;
    const known = weather.hurt.get(key) ?? objects.stored.get(key);
    demand(known !== undefined, "I1", () => `object ${this.#sim.short(key)} does not exist`);
    const same = known.bytes.byteLength === bytes && sha256Of(known.bytes) === sha256;
    demand(same, "I1", () => `object ${this.#sim.short(key)} is not what the version says`);
  }

  /** The records of a version, read segment by segment. */
  async #contentOf({ segments }: SnapshotManifest): Promise<ReferenceModel> {
    const model: ReferenceModel = new Map();
    for (const { object, rows, replaced } of segments) {
      let content = this.#contents.get(object.key);
      if (content === undefined) {
        content = await this.#engine.contentOf(this.#bytesOf(object.key));
        this.#contents.set(object.key, content);
      }
      const counts = countsOf(content);
      const same =
        counts.put === rows.put &&
        counts.patch === rows.patch &&
        counts.delete === rows.delete &&
        content.replaced.size === replaced;
      demand(
        same,
        "I1",
        () => `segment ${this.#sim.short(object.key)} does not hold the rows that its version says`,
      );
      applyRun(model, content);
    }
    return model;
  }
}

function everyRun(after: number, through: number, holds: (sequence: number) => boolean): boolean {
  for (let sequence = after + 1; sequence <= through; sequence++) {
    if (!holds(sequence)) return false;
  }
  return true;
}
