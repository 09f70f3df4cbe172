/**
 * The ports of a role that tells where it is: each call leaves its phase in a small file, which
 * outlives a SIGKILL, and may be the moment at which the role kills itself.
 */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import type { LeaseStore, Ports, SegmentEngine } from "@silt/core";

/** What a role is in the middle of. */
export interface Phases {
  /** Notes that something begins. */
  enter(phase: string): void;
  /** Notes that it is done. */
  leave(phase: string): void;
}

/** The n-th moment of all, or of one phase; each phase has one before it and one after it. */
export interface Moment {
  readonly nth: number;
  readonly phase?: string;
}

/** What a process does to itself at a moment: it dies, or it falls asleep until it is woken. */
export interface Fate {
  readonly moment: Moment;
  readonly signal: "SIGKILL" | "SIGSTOP";
}

const PHASE_BYTES = 64;

/** The phase that a role's process was in when it ended. */
export function readPhase(path: string): string {
  return readFileSync(path, "utf8").trimEnd();
}

/** Notes phases in a file, and sends this process its signal at the moment, if there is one. */
export function openPhases(
  path: string,
  fate: Fate | undefined,
  onFate: (fate: Fate) => void,
): Phases & Disposable {
  const descriptor = openSync(path, "w");
  let passed = 0;
  const note = (text: string, phase: string) => {
    writeSync(descriptor, text.padEnd(PHASE_BYTES).slice(0, PHASE_BYTES), 0);
    if (fate === undefined || (fate.moment.phase ?? phase) !== phase) return;
    passed += 1;
    if (passed !== fate.moment.nth) return;
    onFate(fate);
    process.kill(process.pid, fate.signal);
  };
  return {
    enter: (phase) => note(phase, phase),
    leave: (phase) => note(`after: ${phase}`, phase),
    [Symbol.dispose]: () => closeSync(descriptor),
  };
}

/** What is put where tells what it is for. */
function phaseOfPut(key: string): string {
  if (key.endsWith("latest-pointer.json")) return "flip";
  if (key.endsWith(".tar")) return "store bundle";
  if (key.endsWith("manifest.json")) return "store manifest";
  if (key.endsWith(".sqlite")) return "store segment";
  return "store other object";
}

function phaseOfRead(key: string): string {
  if (key.endsWith(".tar")) return "fetch bundle";
  if (key.endsWith(".sqlite")) return "fetch segment";
  return "read object";
}

const PHASES: Readonly<Record<string, string>> = {
  "objects.list": "list objects",
  "objects.head": "look at object",
  "objects.delete": "delete object",
  "log.commit": "register",
  "log.raiseApplied": "note APPLIED",
  "log.abandonRun": "give run up",
  "log.announceExclusion": "announce exclusion",
  "log.resolveExclusion": "resolve exclusion",
  "log.pinVersion": "hold version",
  "log.unpinVersion": "let version go",
  "log.retireVersion": "retire version",
  "leases.acquire": "take lease",
  "leases.extend": "keep lease",
  "leases.release": "give lease back",
  "leases.read": "read lease",
  "hints.send": "hint",
  "engine.openWorkbench": "open workbench",
  "bench.buildDelta": "build delta",
  "bench.receiveDelta": "check bundle",
  "bench.receiveSegment": "check segment",
  "bench.readDelta": "read delta",
  "bench.auditSegment": "audit segment",
  "bench.merge": "merge",
};

function phaseOf(port: string, method: string, key: unknown): string {
  if (port === "objects" && method === "put") return phaseOfPut(String(key));
  if (port === "objects" && (method === "get" || method === "read")) {
    return phaseOfRead(String(key));
  }
  return PHASES[`${port}.${method}`] ?? (port === "log" ? "read log" : `${port}.${method}`);
}

type Method = (...args: unknown[]) => unknown;

/** Any port whose asynchronous methods are noted. */
function watched<T extends object>(port: string, target: T, phases: Phases): T {
  return new Proxy(target, {
    get(object, name) {
      const member: unknown = Reflect.get(object, name);
      if (typeof member !== "function") return member;
      // Not bound: V8 takes a bound function for none when it disposes.
      const method: Method = (...args) => Reflect.apply(member, object, args);
      // `readAhead` announces what `read` does, and answers at once.
      if (typeof name === "symbol" || name === "readAhead") return method;
      return async (...args: unknown[]) => {
        const phase = phaseOf(port, name, args[0]);
        phases.enter(phase);
        const result = await method(...args);
        phases.leave(phase);
        return result;
      };
    },
  });
}

function watchedEngine(engine: SegmentEngine, phases: Phases): SegmentEngine {
  const watchedOne = watched("engine", engine, phases);
  return {
    async openWorkbench() {
      return watched("bench", await watchedOne.openWorkbench(), phases);
    },
  };
}

/** What a role's ports have seen happen. */
export interface Sightings {
  /** A lease was taken that a dead or sleeping holder had left. */
  readonly onTakeover: () => void;
  readonly onMetric: (name: string, value: number) => void;
}

/** The ports, with each call noted. */
export function watchPorts(ports: Ports, phases: Phases, sightings: Sightings): Ports {
  const leases = watched("leases", ports.leases, phases);
  return {
    ...ports,
    objects: watched("objects", ports.objects, phases),
    log: watched("log", ports.log, phases),
    hints: watched("hints", ports.hints, phases),
    engine: watchedEngine(ports.engine, phases),
    metrics: { count: (name, value) => sightings.onMetric(name, value), gauge() {} },
    leases: {
      acquire: (shard, options) => takeLease(ports.leases, leases, [shard, options], sightings),
      extend: (...args) => leases.extend(...args),
      release: (...args) => leases.release(...args),
      read: (...args) => leases.read(...args),
    },
  };
}

async function takeLease(
  plain: LeaseStore,
  noted: LeaseStore,
  args: Parameters<LeaseStore["acquire"]>,
  { onTakeover }: Sightings,
): ReturnType<LeaseStore["acquire"]> {
  const before = await plain.read(args[0]);
  const acquired = await noted.acquire(...args);
  if (acquired.outcome === "acquired" && before !== undefined) onTakeover();
  return acquired;
}
