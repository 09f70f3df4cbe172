/**
 * I6: nothing is deleted that anybody can still need, nothing before its grace is over, and in the
 * end nothing stays but what is needed.
 */
import {
  isOpenExclusion,
  type Pin,
  type Policy,
  parseCollectorPlan,
  plansPrefix,
  pointerKey,
  runIdOfKey,
  type ShardRef,
  type SnapshotManifest,
  shardPrefix,
  type VersionKey,
  versionName,
  versionOfKey,
} from "@silt/core";
import type { Simulation } from "../simulation.ts";
import { demand } from "../violation.ts";
import type { ShardHistory } from "./shard-history.ts";

interface Pinned {
  readonly version: VersionKey;
  readonly pin: Pin;
}

const keysOf = (manifest: SnapshotManifest): readonly string[] =>
  manifest.segments.map(({ object }) => object.key);

export class DeletionChecker {
  readonly #sim: Simulation;
  readonly #abandoned = new Set<string>();
  readonly #retired = new Set<string>();
  readonly #pins = new Map<string, Pinned>();
  /** Versions that were pinned once: the log knows where their manifests lie. */
  readonly #items = new Set<string>();
  /** When a plan named a key first, by the store's clock. */
  readonly #plannedAtMs = new Map<string, number>();
  #graceMsMin = Number.POSITIVE_INFINITY;

  constructor(sim: Simulation) {
    this.#sim = sim;
  }

  policyChanges({ graceMs }: Policy["retention"]): void {
    this.#graceMsMin = Math.min(this.#graceMsMin, graceMs);
  }

  planned(key: string, bytes: Uint8Array): void {
    const { nowMs } = this.#sim.scheduler;
    for (const candidate of parseCollectorPlan(bytes, key).candidates) {
      if (!this.#plannedAtMs.has(candidate.key)) this.#plannedAtMs.set(candidate.key, nowMs);
    }
  }

  abandoned(runId: string): void {
    this.#abandoned.add(runId);
  }

  pinned(shard: ShardRef, version: VersionKey, pin: Pin): void {
    this.#items.add(nameOf(shard, version));
    this.#pins.set(`${nameOf(shard, version)} ${pin.owner}`, { version, pin });
  }

  unpinned(shard: ShardRef, version: VersionKey, owner: string): void {
    this.#pins.delete(`${nameOf(shard, version)} ${owner}`);
  }

  /** Who holds which versions of a shard. */
  pinsOf(shard: ShardRef): readonly { readonly version: number; readonly owner: string }[] {
    return [...this.#pins]
      .filter(([name]) => name.startsWith(shardPrefix(shard)))
      .map(([, { version, pin }]) => ({ version: version.version, owner: pin.owner }));
  }

  /** Pins of rollbacks that are over, for they hold versions for nobody. */
  forgottenPins(history: ShardHistory): readonly string[] {
    const { version } = history.current.pointer;
    return [...this.#pins]
      .filter(([name]) => name.startsWith(shardPrefix(history.ref)))
      .filter(([, { pin }]) => pin.baseVersion !== null && pin.baseVersion < version)
      .map(([name]) => name);
  }

  retired(shard: ShardRef, version: VersionKey): void {
    const history = this.#sim.checker.historyOf(shard);
    const name = nameOf(shard, version);
    this.#retired.add(name);
    const { pointer } = history.current;
    demand(version.commitId !== pointer.commitId, "I6", "the current version is given up");
    demand(
      version.version <= pointer.version,
      "I6",
      () =>
        `version ${versionName(version)} is given up, which may still be committed on ${pointer.version}`,
    );
    const held = [...this.#pins.keys()].find((pin) => pin.startsWith(`${name} `));
    demand(
      held === undefined,
      "I6",
      () => `version ${version.version} is given up, but pinned: ${held}`,
    );
  }

  deleted(key: string): void {
    const histories = [...this.#sim.checker.histories.values()];
    const history = histories.find(({ ref }) => key.startsWith(shardPrefix(ref)));
    demand(history !== undefined, "I6", `"${key}" is deleted, which is no part of a shard`);
    const { ref } = history;
    if (key.startsWith(plansPrefix(ref))) return;
    this.#sim.count("objects deleted");
    const runId = runIdOfKey(ref, key);
    const version = versionOfKey(ref, key);
    if (runId !== undefined) this.#bundleDeleted(history, key, runId);
    else if (version !== undefined) this.#versionObjectDeleted(history, key, version);
    else demand(false, "I6", `"${key}" is deleted, which is never let go`);
    this.#checkGrace(key);
  }

  #checkGrace(key: string): void {
    const sinceMs = this.#plannedAtMs.get(key);
    const { short, scheduler } = this.#sim;
    demand(sinceMs !== undefined, "I6", () => `${short(key)} is deleted without a plan`);
    const waitedMs = scheduler.nowMs - sinceMs;
    demand(
      waitedMs >= this.#graceMsMin,
      "I6",
      () =>
        `${short(key)} is deleted ${waitedMs} ms after it was planned, the grace is ${this.#graceMsMin}`,
    );
  }

  #bundleDeleted(history: ShardHistory, key: string, runId: string): void {
    const sequence = history.sequenceOf(runId);
    const { short } = this.#sim;
    if (sequence === undefined) {
      demand(
        this.#abandoned.has(runId),
        "I6",
        () => `bundle ${short(key)} is deleted, but its writer may still register it`,
      );
      return;
    }
    const { pointer, manifest } = history.current;
    demand(
      sequence <= pointer.appliedThrough,
      "I6",
      () => `the bundle of pending run ${sequence} is deleted`,
    );
    const open = manifest.excluded.some(
      (exclusion) =>
        isOpenExclusion(exclusion) && exclusion.from <= sequence && sequence <= exclusion.to,
    );
    demand(
      !open,
      "I6",
      () => `the bundle of run ${sequence} is deleted, which is excluded and may come back`,
    );
  }

  #versionObjectDeleted(history: ShardHistory, key: string, version: VersionKey): void {
    const { short } = this.#sim;
    const { pointer } = history.current;
    demand(
      version.version <= pointer.version,
      "I6",
      () => `${short(key)} is deleted, whose version may still be committed on ${pointer.version}`,
    );
    for (const known of history.versions) {
      if (this.#retired.has(nameOf(history.ref, known.pointer))) continue;
      const isManifest = known.pointer.manifest.key === key;
      demand(
        !isManifest && !keysOf(known.manifest).includes(key),
        "I6",
        () => `${short(key)} is deleted, which version ${known.pointer.version} needs`,
      );
    }
    if (!key.endsWith("/manifest.json")) return;
    for (const { pointer: older } of history.versions) {
      const name = nameOf(history.ref, older);
      if (older.version >= version.version || this.#retired.has(name) || this.#items.has(name))
        continue;
      if (history.byCommit.has(version.commitId)) {
        demand(
          false,
          "I6",
          () =>
            `the manifest of version ${version.version} is deleted before version ${older.version} is given up, which only it leads to`,
        );
      }
    }
  }

  /** What a shard holds that nothing needs, after a collector had all the time it wanted. */
  leftovers(history: ShardHistory): readonly string[] {
    const { ref, current } = history;
    const prefix = shardPrefix(ref);
    const held = history.versions.filter(({ pointer }) =>
      [...this.#pins.keys()].some((pin) => pin.startsWith(`${nameOf(ref, pointer)} `)),
    );
    const needed = new Set([pointerKey(ref)]);
    for (const { pointer, manifest } of [current, ...held]) {
      needed.add(pointer.manifest.key);
      for (const key of keysOf(manifest)) needed.add(key);
    }
    let canaries = 1;
    let plans = 1;
    return [...this.#sim.objects.stored.keys()].filter((key) => {
      if (!key.startsWith(prefix) || needed.has(key)) return false;
      if (key.startsWith(plansPrefix(ref)) && plans-- > 0) return false;
      const runId = runIdOfKey(ref, key);
      const sequence = runId === undefined ? undefined : history.sequenceOf(runId);
      if (sequence === undefined) return true;
      const mayComeBack = current.manifest.excluded.some(
        (exclusion) =>
          isOpenExclusion(exclusion) && exclusion.from <= sequence && sequence <= exclusion.to,
      );
      return !mayComeBack && sequence <= current.pointer.appliedThrough && canaries-- <= 0;
    });
  }
}

const nameOf = (shard: ShardRef, version: VersionKey): string =>
  `${shardPrefix(shard)}${versionName(version)}`;
