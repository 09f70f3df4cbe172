/**
 * A process of the kill tests: `node role-process.ts <role> <slot> <world> <seed> [<fate>]`. It works
 * until it is killed, or meets its fate at a moment, and writes a JSON line for what is worth telling.
 */
import { writeSync } from "node:fs";
import { enableCompileCache } from "node:module";

// Half of its start would be compiling.
enableCompileCache();
const { isSiltError, reasonOf } = await import("@silt/core");
const { SegmentCache } = await import("@silt/reader");
const { createSeededRandom } = await import("@silt/testkit");
const { openStore } = await import("../../../packages/silt/src/index.ts");
const { Store } = await import("../../../packages/silt/src/store.ts");
const { ROLES } = await import("./slots.ts");
const { openPhases, watchPorts } = await import("./watched-ports.ts");
const { phasePath, worldAt } = await import("./world.ts");

type RoleEvent = import("./role-context.ts").RoleEvent;

const [, , role = "", slot = "", root = "", seed = "1", fate] = process.argv;
/** Processes push each other's segments out of the cache. */
const CACHE_BYTES_MAX = 256 * 1024;
const FAILURES_MAX = 10_000;
/** What may happen to anyone: the environment, or somebody else's work. */
const MAY_FAIL = ["unavailable", "conflict", "fenced"] as const;

/** Synchronously, so that a kill cannot take back what was said, nor let it be said too early. */
const say = (event: RoleEvent) => writeSync(1, `${JSON.stringify(event)}\n`);

const world = worldAt(root);
const random = createSeededRandom(Number(seed));
const phases = openPhases(
  phasePath(world, slot),
  fate === undefined ? undefined : JSON.parse(fate),
  ({ signal, moment }) => signal === "SIGSTOP" && say({ sleeps: moment.phase ?? "anywhere" }),
);

/** Says a failure that is allowed, and ends the process with any other. */
function tell(error: unknown): void {
  const kind = isSiltError(error) ? error.kind : "internal";
  if (MAY_FAIL.some((allowed) => allowed === kind)) {
    say({ error: kind, message: reasonOf(error) });
    return;
  }
  say({ wrong: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  process.exit(1);
}

async function openWatched() {
  phases.enter("open store");
  const opened = await openStore(world.location, { create: false, cacheFolder: world.cacheFolder });
  phases.leave("open store");
  const { context } = opened;
  const ports = watchPorts(context.ports, phases, {
    onTakeover: () => say({ did: "lease taken over" }),
    onMetric: (name, count) => name === "Flips" && say({ did: "flip", count }),
  });
  const cache = new SegmentCache({
    folder: world.cacheFolder,
    logger: ports.logger,
    bytesMax: CACHE_BYTES_MAX,
  });
  const resources = new AsyncDisposableStack();
  resources.use(opened);
  return new Store({ ...context, ports, cache }, opened.location, resources);
}

/** A role that cannot begin now tries again: the disk may be full, the store busy. */
async function untilItCan<T>(begin: () => Promise<T>): Promise<T> {
  for (let failures = 0; failures < FAILURES_MAX; failures++) {
    try {
      return await begin();
    } catch (error) {
      tell(error);
    }
    await pause();
  }
  throw new Error("it never began");
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 50));

try {
  const store = await untilItCan(openWatched);
  const open = ROLES[role as keyof typeof ROLES];
  const turn = await untilItCan(() => open({ world, slot, store, random, phases, say }));
  say({ ready: true });
  for (;;) {
    phases.enter("between turns");
    try {
      await turn();
    } catch (error) {
      tell(error);
      await pause();
    }
  }
} catch (error) {
  tell(error);
  process.exit(1);
}
