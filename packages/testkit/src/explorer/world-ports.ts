/** The ports of core over worlds: each call becomes data, and whoever performs it decides when, and whether. */
import type {
  Clock,
  HintQueue,
  LeaseStore,
  ObjectStore,
  Ports,
  RunLog,
  SegmentEngine,
} from "@silt/core";
import { folderNames } from "../folder-names.ts";
import { silentLogger, silentMetrics } from "../memory-ports.ts";
import { createSeededRandom } from "../seeded-random.ts";
import { createFoldWorkbench } from "../simulator/fold-engine.ts";
import type { Perform } from "./call.ts";
import { HintCalls, LeaseCalls } from "./lease-calls.ts";
import { LogCalls } from "./log-calls.ts";
import { ObjectCalls } from "./object-calls.ts";
import type { Vocabulary } from "./world.ts";

export const EXPLORED_NOW_MS = Date.UTC(2026, 0, 1);

/** Time does not pass by itself, and nobody waits. */
const stillClock: Clock = {
  nowMs: () => EXPLORED_NOW_MS,
  sleep: async () => {},
  every: () => () => {},
};

const workbench = createFoldWorkbench();
export const foldEngine: SegmentEngine = { openWorkbench: async () => workbench };

function worldObjects(calls: ObjectCalls, perform: Perform): ObjectStore {
  return {
    put: async (key, source, options) => perform(calls.put(key, source, options)),
    get: async (key, options) => perform(calls.get(key, options)),
    read: async (key) => perform(calls.read(key)),
    head: async (key) => perform(calls.head(key)),
    list: async (prefix, options) => perform(calls.list(prefix, options)),
    listFolders: async (prefix) => {
      const listed = perform(calls.list(prefix, { limit: Number.MAX_SAFE_INTEGER }));
      return folderNames(
        prefix,
        (await listed).map(({ key }) => key),
      );
    },
    delete: async (key) => perform(calls.delete(key)),
  };
}

function worldLog(calls: LogCalls, perform: Perform): RunLog {
  return {
    createShard: async (shard, head) => perform(calls.createShard(shard, head)),
    readHead: async (shard) => perform(calls.readHead(shard)),
    readHeads: async (shards) => perform(calls.readHeads(shards)),
    commit: async (transaction) => perform(calls.commit(transaction)),
    readRuns: async (shard, options) => perform(calls.readRuns(shard, options)),
    readRunIds: async (keys) => perform(calls.readRunIds(keys)),
    abandonRun: async (shard, runId) => perform(calls.abandonRun(shard, runId)),
    readApplied: async (shard) => perform(calls.readApplied(shard)),
    raiseApplied: async (shard, applied) => perform(calls.raiseApplied(shard, applied)),
    announceExclusion: async (shard, id) => perform(calls.announceExclusion(shard, id)),
    resolveExclusion: async (shard, id) => perform(calls.resolveExclusion(shard, id)),
    pinVersion: async (shard, version, pin) => perform(calls.pinVersion(shard, version, pin)),
    unpinVersion: async (shard, key, owner) => perform(calls.unpinVersion(shard, key, owner)),
    retireVersion: async (shard, key) => perform(calls.retireVersion(shard, key)),
    listVersions: async (shard, options) => perform(calls.listVersions(shard, options)),
    readGuard: async (key) => perform(calls.readGuard(key)),
    listGuards: async (family, options) => perform(calls.listGuards(family, options)),
  };
}

function worldLeases(calls: LeaseCalls, perform: Perform): LeaseStore {
  return {
    acquire: async (shard, options) => perform(calls.acquire(shard, options)),
    extend: async (lease, ttlMs) => perform(calls.extend(lease, ttlMs)),
    release: async (lease) => perform(calls.release(lease)),
    read: async (shard) => perform(calls.read(shard)),
  };
}

function worldHints(calls: HintCalls, perform: Perform): HintQueue {
  return {
    send: async (hint) => perform(calls.send(hint)),
    receive: async (limit) => perform(calls.receive(limit)),
  };
}

/** The stores of a world. */
export function worldAdapters(
  vocabulary: Vocabulary,
  nowMs: () => number,
  perform: Perform,
): Pick<Ports, "objects" | "log" | "leases" | "hints"> {
  return {
    objects: worldObjects(new ObjectCalls(vocabulary, nowMs()), perform),
    log: worldLog(new LogCalls(vocabulary), perform),
    leases: worldLeases(new LeaseCalls(vocabulary, nowMs), perform),
    hints: worldHints(new HintCalls(vocabulary), perform),
  };
}

/** All ports of one actor; the same seed gives the same random numbers. */
export function worldPorts(vocabulary: Vocabulary, seed: number, perform: Perform): Ports {
  return {
    ...worldAdapters(vocabulary, stillClock.nowMs, perform),
    engine: foldEngine,
    clock: stillClock,
    random: createSeededRandom(seed),
    logger: silentLogger,
    metrics: silentMetrics,
  };
}
