/**
 * A process of the tests: `node store-processes.fixture.ts <register|read|put|fill> <folder> [count [uid]]`.
 * It writes one JSON line for each thing that it was told is done, and one `{error}` if it fails.
 */
import { writeSync } from "node:fs";
import { isSiltError, registerRuns, sha256Of, uuidV7 } from "@silt/core";
import { silentLogger, silentMetrics } from "@silt/testkit";
import Database from "better-sqlite3";
import { type LocalPorts, openLocalPorts } from "./open-local.ts";
import { NEW_HEAD, noEngine, putText, SHARD } from "./temporary-store.fixture.ts";

const [, , command, root = "", count = "1", uid] = process.argv;
becomeSomebodyElse(uid);

/** Synchronously, so that a kill cannot take back what was said, nor let it be said too early. */
const say = (line: object) => writeSync(1, `${JSON.stringify(line)}\n`);

/** Root may do everything. Only once all is loaded, for the sources may lie where others don't come. */
function becomeSomebodyElse(uid: string | undefined): void {
  if (uid === undefined) return;
  new Database(":memory:").close();
  process.setgroups?.([]);
  process.setgid?.(Number(uid));
  process.setuid?.(Number(uid));
}

async function register(ports: LocalPorts): Promise<void> {
  await ports.log.createShard(SHARD, NEW_HEAD);
  for (let left = Number(count); left > 0; left--) {
    const runId = uuidV7(ports.clock.nowMs(), ports.random.bytes(16));
    const key = `collections/lines/deltas/${runId}.tar`;
    await putText(ports.objects, key, runId);
    const outcome = await registerRuns(ports, [
      {
        shard: SHARD,
        runId,
        delta: { key, bytes: runId.length, sha256: sha256Of(runId), codec: "tar" },
        rows: { put: 1, patch: 0, delete: 0 },
        replaced: 0,
        source: null,
        retryOf: null,
      },
    ]);
    if (outcome.outcome !== "registered") throw new Error(outcome.outcome);
    say({ runId, sequence: outcome.runs[0]?.sequence });
  }
}

async function read({ log, objects }: LocalPorts): Promise<void> {
  const runs = await log.readRuns(SHARD, { after: 0, limit: 1_000 });
  const found = await objects.get("a/x.json", { bytesMax: 1_000 });
  say({ runs: runs.length, object: found.outcome });
}

async function put({ objects }: LocalPorts): Promise<void> {
  say(await putText(objects, "a/put.json", "x".repeat(Number(count))));
}

/** Puts until that fails, then makes shards until that fails too. */
async function fill({ log, objects }: LocalPorts): Promise<void> {
  const untilItFails = async (step: (index: number) => Promise<unknown>) => {
    for (let index = 0; ; index++) {
      try {
        await step(index);
      } catch (error) {
        say({ done: index, error: isSiltError(error) && error.kind, message: String(error) });
        return;
      }
    }
  };
  await untilItFails((index) => putText(objects, `a/${index}.json`, "x".repeat(64 * 1024)));
  await untilItFails((index) => log.createShard({ ...SHARD, shard: `${index}-of-x` }, NEW_HEAD));
}

try {
  await using ports = await openLocalPorts(root, {
    create: command === "register",
    engine: noEngine,
    logger: silentLogger,
    metrics: silentMetrics,
  });
  if (command === "register") await register(ports);
  else if (command === "read") await read(ports);
  else if (command === "fill") await fill(ports);
  else await put(ports);
} catch (error) {
  const kind = isSiltError(error) ? error.kind : "not a SiltError";
  say({ error: kind, message: String(error) });
  process.exitCode = 1;
}
