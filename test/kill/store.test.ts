/** Real processes on one store, killed with SIGKILL at seeded moments. */
import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { updatePolicy } from "@silt/core";
import { createSeededRandom, type SeededRandom } from "@silt/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openStore, type Store } from "../../packages/silt/src/index.ts";

const PROCESS = fileURLToPath(new URL("./store-process.ts", import.meta.url));
const MAIN = fileURLToPath(new URL("../../packages/silt/bin/silt.js", import.meta.url));
const KILLS = 16;
const MORE_MS_MAX = 400;
const TIMEOUT_MS = 120_000;

interface Line {
  readonly ready?: boolean;
  readonly id?: string;
  readonly counter?: string;
  readonly turn?: number;
  readonly outcome?: string;
  readonly records?: number;
  readonly wrong?: unknown;
}

let folder: string;
let location: string;
let cacheFolder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "silt-kill-"));
  location = join(folder, "store");
  cacheFolder = join(folder, "cache");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function createStore(shards: number): Promise<void> {
  await using store = await openStore(location, { cacheFolder });
  await store.collection("notes", { dimension: 2, shards });
  await updatePolicy(store.context.ports, "notes", (policy) => ({
    ...policy,
    // Killed compactors are replaced soon, and segments pile up.
    lease: { ttlMs: 400, heartbeatMs: 100, skewMs: 50 },
    compaction: { ...policy.compaction, smallBytes: 0 },
  }));
}

interface Running {
  readonly child: ChildProcess;
  /** Resolves when it has said so many lines, or has ended. */
  readonly said: (lines: number) => Promise<void>;
  readonly ended: Promise<readonly Line[]>;
}

function start(role: string, name: string): Running {
  const args = [PROCESS, role, location, cacheFolder, name];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const lines: Line[] = [];
  const ended = Promise.withResolvers<readonly Line[]>();
  const news = new EventEmitter();
  let isOver = false;
  createInterface({ input: child.stdout as NodeJS.ReadableStream })
    .on("line", (line) => {
      lines.push(JSON.parse(line));
      news.emit("line");
    })
    .on("close", () => {
      isOver = true;
      news.emit("line");
      ended.resolve(lines);
    });
  const said = async (count: number) => {
    while (lines.length < count && !isOver) await once(news, "line");
  };
  return { child, said, ended: ended.promise };
}

/** Lets a process get on with its work, however slow the machine is, and kills it in the middle of more. */
async function killAtWork(running: Running, role: string, random: SeededRandom): Promise<void> {
  await running.said(1);
  // Some compactors get to their flip, others are killed on the way.
  const done = role === "compact" ? random.int(2) : 1 + random.int(4);
  await running.said(1 + done);
  await sleep(random.fraction() * MORE_MS_MAX);
  running.child.kill("SIGKILL");
}

/** Keeps one process of a role alive, killing it again and again; gives all that they said. */
async function killAgainAndAgain(role: string, slot: number, kills: number): Promise<Line[]> {
  const random = createSeededRandom(1_000 + slot);
  const said: Line[] = [];
  for (let life = 0; life < kills; life++) {
    const running = start(role, `${role}${slot}-${life}`);
    await killAtWork(running, role, random);
    said.push(...(await running.ended));
  }
  return said;
}

async function expectAcknowledged(store: Store, said: readonly Line[]): Promise<void> {
  const collection = await store.collection("notes");
  const { records, behind } = await collection.get();
  expect(behind).toBe(0);
  const turns = new Map(records.map(({ id, metadata }) => [id, metadata.turn]));
  for (const { id, counter, turn } of said) {
    if (id === undefined || counter === undefined) continue;
    expect(turns.has(id), `${id} was acknowledged`).toBe(true);
    // A later turn that was not acknowledged may have been registered all the same.
    expect(Number(turns.get(counter))).toBeGreaterThanOrEqual(Number(turn));
  }
}

it("I2 F13 F25 F30 nothing acknowledged is lost or damaged by SIGKILL of writers, compactors and readers", {
  timeout: TIMEOUT_MS,
}, async () => {
  await createStore(2);
  const per = KILLS / 4;
  const said = await Promise.all([
    killAgainAndAgain("write", 1, per),
    killAgainAndAgain("write", 2, per),
    killAgainAndAgain("compact", 3, per),
    killAgainAndAgain("read", 4, per),
  ]);
  const all = said.flat();
  expect(all.filter(({ wrong }) => wrong !== undefined)).toEqual([]);
  expect(all.filter(({ id }) => id !== undefined).length).toBeGreaterThanOrEqual(KILLS / 2);
  expect(all.filter(({ outcome }) => outcome === "flipped").length).toBeGreaterThan(0);

  await using store = await openStore(location, { cacheFolder });
  // The last compactor's lease may still run: it ends by itself.
  let reports = await store.compact();
  for (let tries = 0; tries < 50 && reports.some(({ outcome }) => outcome === "busy"); tries++) {
    await sleep(50);
    reports = await store.compact();
  }
  await expectAcknowledged(store, all);
  const report = await store.verify({ deep: true });
  expect(report.problems).toEqual([]);
});

it("I5 several silt put and compact at once all succeed, or say that someone else works", {
  timeout: TIMEOUT_MS,
}, async () => {
  await createStore(1);
  const env = { ...process.env, SILT_STORE: location, SILT_CACHE: cacheFolder };
  const silt = (args: readonly string[], input = "") =>
    new Promise<number>((resolve, reject) => {
      const child = spawn(process.execPath, [MAIN, ...args], {
        env,
        stdio: ["pipe", "pipe", "pipe"],
      });
      child.on("error", reject).on("close", (code) => resolve(code ?? -1));
      child.stdout.resume();
      child.stderr.resume();
      child.stdin.end(input);
    });
  const put = (name: string) => silt(["put", "notes"], `{"id": "${name}", "embedding": [1, 2]}`);
  const names = ["a", "b", "c", "d", "e", "f"];
  const [puts, compactions] = await Promise.all([
    Promise.all(names.map(put)),
    Promise.all([silt(["compact"]), silt(["compact"]), silt(["compact"])]),
  ]);
  expect(puts).toEqual(names.map(() => 0));
  for (const code of compactions) expect([0, 4]).toContain(code);
  await using store = await openStore(location, { cacheFolder });
  await store.compact();
  const { records } = await (await store.collection("notes")).get();
  expect(records.map(({ id }) => id)).toEqual(names);
  expect((await store.verify()).ok).toBe(true);
  expect(readdirSync(join(location, "tmp"))).toEqual([]);
});
