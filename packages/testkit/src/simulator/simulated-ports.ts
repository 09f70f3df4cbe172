/**
 * The ports of one actor: each call is a request that lands at some step, and an answer that arrives
 * at a later one. The effect between them is one step on the shared memory adapters. What can go
 * wrong with a call is here; what went wrong is counted and, when asked, told in the trace.
 */
import {
  type Clock,
  type HintQueue,
  type LeaseStore,
  type ObjectStore,
  type Ports,
  type RunLog,
  type SegmentEngine,
  SiltError,
  shardPartition,
  type Workbench,
} from "@silt/core";
import { folderNames } from "../folder-names.ts";
import { silentLogger, silentMetrics } from "../memory-ports.ts";
import type { SeededRandom } from "../seeded-random.ts";
import type { Actor } from "./actor.ts";
import type { CallFault } from "./faults.ts";
import type { Simulation } from "./simulation.ts";

interface Call<T> {
  readonly method: string;
  readonly subject: string;
  /** It changes something, so that a late landing matters. */
  readonly mutates: boolean;
  readonly effect: () => Promise<T>;
}

const unavailable = (method: string, subject: string, why: string) =>
  new SiltError("unavailable", `Cannot ${method} "${subject}": ${why}`);

const MANIFEST_NAME = "/manifest.json";
const WAIT_CHANCE = 0.4;
const POINTER_NAME = "/latest-pointer.json";
const MINUTE_MS = 60_000;
const PAUSES_MS = [50, 1_000, 40_000, 10 * MINUTE_MS, 3 * 60 * MINUTE_MS, 26 * 60 * MINUTE_MS];

/** How long a process sleeps, or a request travels: mostly short, sometimes for hours. */
export const drawDelay = (random: SeededRandom): number =>
  Math.floor(random.pick(PAUSES_MS) * (0.5 + random.fraction()));

/** A call of an actor to a store, with all that can happen to it. */
export function callStore<T>(sim: Simulation, actor: Actor, call: Call<T>): Promise<T> {
  actor.calls += 1;
  const isFlip = call.mutates && call.subject.endsWith(POINTER_NAME);
  const isCommit = isFlip || call.method === "commit";
  return new Promise<T>((resolve, reject) => {
    const fail = (why: string) => {
      sim.note(actor, () => `${call.method} ${sim.short(call.subject)} fails: ${why}`);
      sim.scheduler.push(actor, () => reject(unavailable(call.method, call.subject, why)));
    };
    const answer = (value: T) => {
      sim.note(actor, () => `${call.method} ${sim.short(call.subject)}${outcomeOf(value)}`);
      sim.scheduler.push(actor, () => resolve(value));
    };
    const refuse = (error: unknown) => sim.scheduler.push(actor, () => reject(error));
    const land = () => void sim.perform(call.effect).then(undefined, () => {});
    const request = () => {
      const hindrance = sim.weather.hindrance(actor, call.method, call.subject);
      if (hindrance !== undefined) {
        actor.faultsMet += 1;
        return fail(hindrance);
      }
      const sleepMs = sim.sleepBefore(actor, isFlip ? "flip" : call.method);
      if (sleepMs > 0) {
        sim.note(actor, () => `sleeps for ${sleepMs} ms before ${call.method}`);
        actor.pausedUntilMs = sim.scheduler.nowMs + sleepMs;
        return sim.scheduler.push(actor, act, call.mutates ? land : undefined);
      }
      const fault = sim.callFault(actor, call.mutates, isCommit);
      switch (fault) {
        case "crash-before":
          return sim.crash(actor);
        case "lost-request":
        case "try-again":
          return fail(fault);
        case "late-request":
          sim.scheduler.after(drawDelay(actor.fate), undefined, land);
          return fail(fault);
        case "pause":
          sim.pause(actor);
          return sim.scheduler.push(actor, act, call.mutates ? land : undefined);
        default:
          return act(fault);
      }
    };
    const act = (fault?: CallFault) => {
      if (fault !== undefined && isFlip) sim.count("unclear flips");
      const done = sim.perform(call.effect);
      switch (fault) {
        case "crash-after":
          return void done.then(
            () => sim.crash(actor),
            () => sim.crash(actor),
          );
        case "lost-answer": {
          const lose = () => {
            fail(fault);
            // Whoever waits in vain for an answer gives the others time.
            if (isCommit && actor.fate.chance(WAIT_CHANCE)) sim.pause(actor);
          };
          return void done.then(lose, lose);
        }
        case "sdk-retry": {
          const again = () => void sim.perform(call.effect).then(answer, refuse);
          const resend = () => {
            sim.scheduler.push(actor, again, land);
            if (isCommit && actor.fate.chance(WAIT_CHANCE)) sim.pause(actor);
          };
          return void done.then(resend, refuse);
        }
        default:
          return void done.then(answer, refuse);
      }
    };
    sim.scheduler.push(actor, request, call.mutates ? land : undefined);
  });
}

function outcomeOf(value: unknown): string {
  if (typeof value === "string") return `: ${value}`;
  const outcome = (value as { outcome?: unknown } | undefined)?.outcome;
  return typeof outcome === "string" ? `: ${outcome}` : "";
}

/** Work on the actor's own machine: one step, no network. */
function callMachine<T>(sim: Simulation, actor: Actor, what: string, effect: () => Promise<T>) {
  return new Promise<T>((resolve, reject) => {
    sim.scheduler.push(actor, () => {
      if (sim.callFault(actor, false) === "crash-before") return sim.crash(actor);
      if (sim.weather.isDiskFull(actor)) {
        sim.note(actor, () => `${what} fails: disk full`);
        return reject(unavailable(what, actor.name, "the disk is full"));
      }
      sim.note(actor, () => what);
      sim.perform(effect).then(resolve, reject);
    });
  });
}

function simulatedObjects(sim: Simulation, actor: Actor): ObjectStore {
  const store = sim.objects;
  const call = <T>(method: string, subject: string, mutates: boolean, effect: () => Promise<T>) =>
    callStore(sim, actor, { method, subject, mutates, effect });
  const seen = (key: string) => !sim.weather.isVanished(actor, key);
  return {
    put: (key, source, options) =>
      call("put", key, true, async () => {
        if (key.endsWith(MANIFEST_NAME)) actor.attempts.add(key);
        const put = await store.put(key, source, options);
        if (put.outcome === "stored")
          await sim.watch(() => sim.checker.stored(actor, key, options.condition));
        return put;
      }),
    get: (key, options) =>
      call("get", key, false, async () => {
        if (!seen(key)) return { outcome: "absent" };
        return store.get(key, options);
      }),
    read: (key) =>
      call("read", key, false, async () => {
        if (!seen(key)) return { outcome: "absent" };
        const found = await store.read(key);
        if (found.outcome === "absent") return found;
        actor.bytes += found.bytes;
        return { ...found, body: sim.weather.bodyOf(actor, key, found.body) };
      }),
    head: (key) =>
      call("head", key, false, async () => (seen(key) ? store.head(key) : { outcome: "absent" })),
    list: (prefix, options) =>
      call("list", prefix, false, async () => {
        const listed = await store.list(prefix, options);
        return listed.filter(({ key }) => seen(key));
      }),
    listFolders: (prefix) =>
      call("listFolders", prefix, false, async () =>
        folderNames(prefix, [...sim.objects.stored.keys()].filter(seen)),
      ),
    delete: (key) =>
      call("delete", key, true, async () => {
        const existed = sim.objects.stored.has(key) || sim.weather.hurt.has(key);
        await store.delete(key);
        sim.weather.forgetHurt(key);
        if (existed) sim.watch(() => sim.checker.deletions.deleted(key));
      }),
  };
}

function simulatedLog(sim: Simulation, actor: Actor): RunLog {
  const { log } = sim;
  const read = <T>(method: string, subject: string, effect: () => Promise<T>) =>
    callStore(sim, actor, { method, subject, mutates: false, effect });
  const write = <T>(method: string, subject: string, effect: () => Promise<T>) =>
    callStore(sim, actor, { method, subject, mutates: true, effect });
  return {
    createShard: (shard, head) =>
      write("createShard", shardPartition(shard), () => log.createShard(shard, head)),
    readHead: (shard) => read("readHead", shardPartition(shard), () => log.readHead(shard)),
    readHeads: (shards) => read("readHeads", "", () => log.readHeads(shards)),
    commit: (transaction) =>
      write("commit", "", async () => {
        const outcome = await log.commit(transaction);
        if (outcome.outcome === "committed") sim.watch(() => sim.committed(actor, transaction));
        return outcome;
      }),
    readRuns: (shard, options) =>
      read("readRuns", shardPartition(shard), () => log.readRuns(shard, options)),
    readRunIds: (keys) => read("readRunIds", "", () => log.readRunIds(keys)),
    abandonRun: (shard, runId) =>
      write("abandonRun", runId, async () => {
        const outcome = await log.abandonRun(shard, runId);
        if (outcome === "abandoned") sim.abandoned(runId);
        return outcome;
      }),
    readApplied: (shard) =>
      read("readApplied", shardPartition(shard), () => log.readApplied(shard)),
    raiseApplied: (shard, applied) =>
      write("raiseApplied", shardPartition(shard), async () => {
        sim.watch(() => sim.checker.appliedRaised(shard, applied));
        await log.raiseApplied(shard, applied);
      }),
    announceExclusion: (shard, commitId) =>
      write("announceExclusion", shardPartition(shard), () =>
        log.announceExclusion(shard, commitId).then(() => sim.checker.announced(shard, commitId)),
      ),
    resolveExclusion: (shard, commitId) =>
      write("resolveExclusion", shardPartition(shard), () =>
        log.resolveExclusion(shard, commitId).then(() => sim.checker.resolved(shard, commitId)),
      ),
    pinVersion: (shard, version, pin) =>
      write("pinVersion", `${version.version}-${version.commitId}`, () =>
        log.pinVersion(shard, version, pin).then((pinned) => {
          if (pinned.outcome === "pinned") sim.checker.deletions.pinned(shard, version, pin);
          return pinned;
        }),
      ),
    unpinVersion: (shard, version, owner) =>
      write("unpinVersion", `${version.version}-${version.commitId}`, () =>
        log
          .unpinVersion(shard, version, owner)
          .then(() => sim.checker.deletions.unpinned(shard, version, owner)),
      ),
    retireVersion: (shard, version) =>
      write("retireVersion", `${version.version}-${version.commitId}`, async () => {
        const retired = await log.retireVersion(shard, version);
        if (retired.outcome === "retired")
          sim.watch(() => sim.checker.deletions.retired(shard, version));
        return retired;
      }),
    listVersions: (shard, options) =>
      read("listVersions", shardPartition(shard), () => log.listVersions(shard, options)),
    readGuard: (key) => read("readGuard", key.uri, () => log.readGuard(key)),
    listGuards: (family, options) =>
      read("listGuards", family, () => log.listGuards(family, options)),
  };
}

function simulatedLeases(sim: Simulation, actor: Actor): LeaseStore {
  const call = <T>(
    method: string,
    subject: string,
    mutates: boolean,
    effect: (leases: LeaseStore) => Promise<T>,
  ) =>
    callStore(sim, actor, {
      method,
      subject,
      mutates,
      effect: () => {
        // The adapter judges expiry by the clock of whoever asks.
        sim.leaseClockMs = sim.clockOf(actor);
        return effect(sim.leases);
      },
    });
  return {
    acquire: (shard, options) =>
      call("acquire", shardPartition(shard), true, async (leases) => {
        const before = await leases.read(shard);
        const acquired = await leases.acquire(shard, options);
        if (acquired.outcome === "acquired") {
          if (before !== undefined) sim.count("takeovers");
          sim.watch(() => sim.checker.leased(acquired.lease));
        }
        return acquired;
      }),
    extend: (lease, ttlMs) =>
      call("extend", shardPartition(lease.shard), true, (leases) => leases.extend(lease, ttlMs)),
    release: (lease) =>
      call("release", shardPartition(lease.shard), true, (leases) => leases.release(lease)),
    read: (shard) =>
      call("readLease", shardPartition(shard), false, (leases) => leases.read(shard)),
  };
}

function simulatedHints(sim: Simulation, actor: Actor): HintQueue {
  return {
    send: (hint) =>
      callStore(sim, actor, {
        method: "sendHint",
        subject: shardPartition(hint),
        mutates: true,
        effect: async () => sim.sendHint(hint),
      }),
    receive: (limit) =>
      callStore(sim, actor, {
        method: "receiveHints",
        subject: "",
        mutates: true,
        effect: async () => sim.takeHints(limit),
      }),
  };
}

function simulatedEngine(sim: Simulation, actor: Actor): SegmentEngine {
  const machine = <T>(what: string, effect: () => Promise<T>) =>
    callMachine(sim, actor, what, effect);
  const wrap = (bench: Workbench): Workbench => ({
    freeBytes: async () => (sim.weather.isDiskFull(actor) ? 0 : Number.MAX_SAFE_INTEGER),
    buildDelta: (owner, draft) =>
      machine("buildDelta", async () => {
        const built = await bench.buildDelta(owner, draft);
        sim.checker.built(actor, draft.runId, draft.content);
        return built;
      }),
    receiveDelta: (...args) => sim.perform(() => bench.receiveDelta(...args)),
    readDelta: (input) => sim.perform(() => bench.readDelta(input)),
    receiveSegment: (...args) => sim.perform(() => bench.receiveSegment(...args)),
    auditSegment: (...args) => sim.perform(() => bench.auditSegment(...args)),
    merge: (owner, inputs, options) =>
      machine("merge", () => {
        sim.count("merges");
        return bench.merge(owner, inputs, options);
      }),
    [Symbol.asyncDispose]: () => sim.perform(async () => bench[Symbol.asyncDispose]()),
  });
  return {
    openWorkbench: async () => wrap(await sim.perform(() => sim.engine.openWorkbench())),
  };
}

function simulatedClock(sim: Simulation, actor: Actor): Clock {
  return {
    nowMs: () => sim.clockOf(actor),
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const cancel = sim.scheduler.after(ms, actor, resolve);
        signal?.addEventListener("abort", () => {
          cancel();
          reject(signal.reason);
        });
      }),
    every: (ms, action) => sim.scheduler.after(ms, actor, action, ms),
  };
}

/** All ports of an actor. */
export function simulatedPorts(sim: Simulation, actor: Actor, entropy: SeededRandom): Ports {
  return {
    objects: simulatedObjects(sim, actor),
    log: simulatedLog(sim, actor),
    leases: simulatedLeases(sim, actor),
    hints: simulatedHints(sim, actor),
    engine: simulatedEngine(sim, actor),
    clock: simulatedClock(sim, actor),
    random: entropy,
    logger: silentLogger,
    metrics: silentMetrics,
  };
}
