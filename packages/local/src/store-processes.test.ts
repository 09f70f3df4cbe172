import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { nextRunsHash } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it, type TestContext } from "vitest";
import { openLocalPorts } from "./open-local.ts";
import { NEW_HEAD, optionsOf, putText, SHARD, temporaryFolder } from "./temporary-store.fixture.ts";

const FIXTURE = fileURLToPath(new URL("./store-processes.fixture.ts", import.meta.url));
const NOBODY = 65534;
const TIMEOUT_MS = 120_000;
const IS_ROOT = process.getuid?.() === 0;

interface Said {
  readonly runId: string;
  readonly sequence: number;
  readonly runs: number;
  readonly object: string;
  readonly outcome: string;
  readonly error: string;
  readonly message: string;
  readonly done: number;
}

interface Running {
  readonly child: ChildProcess;
  readonly said: Said[];
  readonly ended: Promise<readonly Said[]>;
}

function start(args: readonly string[], onLine: (running: Running) => void = () => {}): Running {
  // Permissions do not bind root, so that those tests run as somebody else.
  const asNobody = args[0] === "nobody" && IS_ROOT;
  const [command = "", folder = "", count = "1"] = args.filter((arg) => arg !== "nobody");
  const given = [FIXTURE, command, folder, count, ...(asNobody ? [String(NOBODY)] : [])];
  const child = spawn(process.execPath, given, { stdio: ["ignore", "pipe", "inherit"] });
  const said: Said[] = [];
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  const ended = new Promise<readonly Said[]>((resolve, reject) => {
    child.on("error", reject);
    lines.on("close", () => resolve(said));
  });
  const running = { child, said, ended };
  lines.on("line", (line) => {
    said.push(JSON.parse(line));
    onLine(running);
  });
  return running;
}

async function readLog(root: string) {
  await using ports = await openLocalPorts(root, { ...optionsOf(), create: false });
  const runs = await ports.log.readRuns(SHARD, { after: 0, limit: 10_000 });
  const head = await ports.log.readHead(SHARD);
  const states = await ports.log.readRunIds(runs.map(({ runId }) => ({ shard: SHARD, runId })));
  const objects = await ports.objects.list("collections/", { limit: 10_000 });
  return { runs, head, states, keys: new Set(objects.map(({ key }) => key)) };
}

/** Everything acknowledged is there at its number; no gaps; HEAD, hashes and run ids agree. */
async function expectSoundLog(root: string, acknowledged: readonly Said[]): Promise<number> {
  const { runs, head, states, keys } = await readLog(root);
  expect(runs.map(({ sequence }) => sequence)).toEqual(runs.map((_, index) => index + 1));
  const bySequence = new Map(runs.map(({ sequence, runId }) => [sequence, runId]));
  for (const { runId, sequence } of acknowledged) expect(bySequence.get(sequence)).toBe(runId);
  const runsHash = runs.reduce((hash, run) => nextRunsHash(hash, run.runId), NEW_HEAD.runsHash);
  expect(head).toEqual({ ...NEW_HEAD, sequence: runs.length, runsHash });
  expect(states.map((state) => state.state === "registered" && state.sequence)).toEqual(
    runs.map(({ sequence }) => sequence),
  );
  for (const { delta } of runs) expect(keys).toContain(delta.key);
  return runs.length;
}

describe("several processes on one store", () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let root: string;
  beforeEach(() => {
    folder = temporaryFolder();
    chmodSync(folder.path, 0o755);
    root = join(folder.path, "store");
  });
  afterEach(() => folder[Symbol.dispose]());

  async function createStore(): Promise<void> {
    await using ports = await openLocalPorts(root, optionsOf());
    await ports.log.createShard(SHARD, NEW_HEAD);
    await putText(ports.objects, "a/x.json", "x");
  }

  it("F65 10 processes create one store and register at once: all succeed, no gaps", {
    timeout: TIMEOUT_MS,
  }, async () => {
    const [processes, runsEach] = [10, 20];
    const running = Array.from({ length: processes }, () =>
      start(["register", root, `${runsEach}`]),
    );
    const said = (await Promise.all(running.map(({ ended }) => ended))).flat();
    expect(said.filter(({ error }) => error !== undefined)).toEqual([]);
    expect(said).toHaveLength(processes * runsEach);
    expect(await expectSoundLog(root, said)).toBe(processes * runsEach);
    expect(readdirSync(join(root, "tmp"))).toEqual([]);
  });

  it("F53 processes that are killed in the middle of commits lose nothing acknowledged", {
    timeout: TIMEOUT_MS,
  }, async () => {
    const acknowledged: Said[] = [];
    for (let round = 1; round <= 4; round++) {
      const killAfter = 3 + 5 * round;
      const running = Array.from({ length: 3 }, () =>
        start(["register", root, "1000000"], ({ child, said }) => {
          if (said.length === killAfter) child.kill("SIGKILL");
        }),
      );
      const said = (await Promise.all(running.map(({ ended }) => ended))).flat();
      expect(said.filter(({ error }) => error !== undefined)).toEqual([]);
      acknowledged.push(...said);
      expect(await expectSoundLog(root, acknowledged)).toBeGreaterThanOrEqual(acknowledged.length);
    }
    expect(acknowledged.length).toBeGreaterThanOrEqual(3 * (8 + 13 + 18 + 23));
  });

  it("a reader without write permission reads while a writer has the store open", {
    timeout: TIMEOUT_MS,
  }, async () => {
    await createStore();
    await using writer = await openLocalPorts(root, optionsOf());
    expect(await writer.log.readHead(SHARD)).toEqual(NEW_HEAD);
    if (!IS_ROOT) for (const path of ["", "tmp", "a"]) chmodSync(join(root, path), 0o555);
    const [said] = await start(["nobody", "read", root]).ended;
    expect(said).toEqual({ runs: 0, object: "found" });
    if (!IS_ROOT) for (const path of ["", "tmp", "a"]) chmodSync(join(root, path), 0o755);
  });

  it("F57 what permissions forbid is unavailable and says so, never absent", {
    timeout: TIMEOUT_MS,
  }, async () => {
    await createStore();
    const expectRefused = async (command: string) => {
      const said = await start(["nobody", command, root]).ended;
      expect(said).toMatchObject([{ error: "unavailable" }]);
      expect(said[0]?.message).toMatch(/permission|read-only/);
    };
    const modes = [
      ["a", 0o000, "read"],
      ["a/x.json", 0o000, "read"],
      ["silt-store.json", 0o000, "read"],
      ["log.sqlite", 0o000, "read"],
      ["", 0o000, "read"],
      ["", 0o555, "put"],
    ] as const;
    for (const [path, mode, command] of modes) {
      using copy = temporaryFolder(folder.path);
      chmodSync(copy.path, 0o777);
      root = join(copy.path, "copy");
      cpSync(join(folder.path, "store"), root, { recursive: true });
      if (IS_ROOT) execFileSync("chown", ["-R", `${NOBODY}`, root]);
      chmodSync(join(root, path), mode);
      await expectRefused(command);
      chmodSync(join(root, path), 0o755);
    }
  });

  it(
    "F30 a full disk is unavailable, loses nothing and leaves no temporary file",
    async (context) => {
      root = join(folder.path, "small", "store");
      if (!mountSmall(join(folder.path, "small"), context)) return;
      try {
        await createStore();
        const [said] = await start(["put", root, `${8 * 1024 * 1024}`]).ended;
        expect(said).toMatchObject({ error: "unavailable" });
        expect(said?.message).toMatch(/disk is full/);
        expect(readdirSync(join(root, "tmp"))).toEqual([]);
        const [objects, shards] = await start(["fill", root]).ended;
        for (const failed of [objects, shards]) {
          expect(failed).toMatchObject({ error: "unavailable" });
          expect(failed?.message).toMatch(/disk is full/);
        }
        await using ports = await openLocalPorts(root, optionsOf());
        expect(await ports.objects.list("a/", { limit: 100 })).toHaveLength(
          1 + (objects?.done ?? 0),
        );
        await ports.objects.delete("a/0.json");
        for (let index = 0; index < (shards?.done ?? 0); index++) {
          expect(await ports.log.readHead({ ...SHARD, shard: `${index}-of-x` })).toEqual(NEW_HEAD);
        }
        const next = { ...SHARD, shard: `${shards?.done}-of-x` };
        expect(await ports.log.createShard(next, NEW_HEAD)).toBe("created");
      } finally {
        execFileSync("umount", [join(folder.path, "small")]);
      }
    },
    TIMEOUT_MS,
  );
});

/** A file system of 2 MiB; where that is not allowed the test says so aloud. */
function mountSmall(path: string, context: TestContext): boolean {
  mkdirSync(path);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "silt-test", path], { stdio: "pipe" });
    return true;
  } catch (error) {
    process.stderr.write(
      `NOT TESTED: a full disk (F30), for no tmpfs could be mounted: ${error}\n`,
    );
    context.skip("no tmpfs could be mounted");
    return false;
  }
}
