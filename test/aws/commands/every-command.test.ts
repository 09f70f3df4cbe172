/** Commands on a store on S3, beside those whose tests run on either kind of store. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type CommandSandbox,
  commandSandbox,
} from "../../../packages/silt/src/cli/command.fixture.ts";
import {
  type PictureFolder,
  pictureFolder,
} from "../../../packages/silt/src/ingest/pictures.fixture.ts";
import { openStore } from "../../../packages/silt/src/open-store.ts";
import { onlySegment } from "../../../packages/silt/src/stored-segment.fixture.ts";
import { damageBundle } from "./damage-bundle.fixture.ts";

const COMMAND = fileURLToPath(new URL("../../../packages/silt/bin/silt.js", import.meta.url));
const WATCH_MS_MAX = 90_000;

let sandbox: CommandSandbox;
beforeEach(async () => {
  sandbox = commandSandbox();
  expect(sandbox.store).toMatch(/^s3:/);
  expect(await silt("init", "notes", "--dimension", "2")).toMatchObject({ exitCode: 0 });
});
afterEach(() => sandbox[Symbol.dispose]());

const silt = (...args: string[]) => sandbox.silt(args);
const put = async (id: string): Promise<string> => {
  const line = JSON.stringify({ id, embedding: [1, id.charCodeAt(0)] });
  const { json } = await sandbox.silt(["put", "notes", "--json"], line);
  return json.runs[0].runId;
};
const ids = async (...args: string[]) => {
  const { json } = await silt("get", "notes", "--json", ...args);
  return json.records.map(({ id }: { id: string }) => id);
};

describe("silt on S3", () => {
  it("keeps a history: versions, rollback, pin, unpin, policy and gc", async () => {
    for (const id of ["a", "b", "c"]) {
      await put(id);
      await silt("compact");
    }
    const { json } = await silt("versions", "notes", "--json");
    const seen = json.collections[0].shards[0].versions;
    expect(seen.map(({ version }: { version: number }) => version)).toEqual([3, 2, 1, 0]);
    expect(await silt("pin", "2", "--owner", "audit", "--json")).toMatchObject({ exitCode: 0 });
    const back = await silt("rollback", "notes", "1", "--yes", "--json");
    expect(back.json).toMatchObject({ outcome: "rolled-back", from: 3, to: 1, version: 4 });
    expect(await ids()).toEqual(["a"]);

    const at = ["--keep-versions", "1", "--keep-versions-for", "0s", "--grace", "0s"];
    const policy = await silt("policy", "notes", ...at, "--keep-deltas-for", "0s", "--json");
    expect(policy.json.retention).toMatchObject({ versionsKept: 1, graceMs: 0 });
    const plan = await silt("gc", "--json");
    expect(plan.json.deletedBytes).toBe(0);
    expect(plan.json.shards[0].candidates.length).toBeGreaterThan(0);
    const gone = await silt("gc", "--delete", "--json");
    expect(gone).toMatchObject({ exitCode: 0 });
    expect(gone.json.deletedBytes).toBeGreaterThan(0);
    expect(await ids("--version", "2")).toEqual(["a", "b"]);
    expect(await silt("get", "notes", "--version", "3")).toMatchObject({ exitCode: 2 });
    expect(await silt("unpin", "2", "--owner", "audit")).toMatchObject({ exitCode: 0 });
    await silt("gc", "--json");
    await silt("gc", "--delete");
    expect(await silt("get", "notes", "--version", "2")).toMatchObject({ exitCode: 2 });
    expect(await silt("verify", "--deep", "--json")).toMatchObject({
      exitCode: 0,
      json: { ok: true, problems: [] },
    });
  });

  it("is checked: verify --deep and --version, inspect by key, rebuild, doctor", async () => {
    const runId = await put("a");
    await silt("compact");
    await put("b");
    const old = await silt("verify", "notes", "--version", "1", "--deep", "--json");
    expect(old).toMatchObject({ exitCode: 0, json: { ok: true } });
    const { key } = await onlySegment(sandbox.store);
    const segment = await silt("inspect", key, "--json");
    expect(segment).toMatchObject({ exitCode: 0, json: { kind: "segment", sound: true } });
    const bundle = await silt("inspect", runId, "--json");
    expect(bundle).toMatchObject({ exitCode: 0, json: { runId, sound: true } });
    const rebuilt = await silt("rebuild", "--json");
    expect(rebuilt).toMatchObject({ exitCode: 0, json: { shards: [{ outcome: "equal" }] } });
    const doctor = await silt("doctor", "--json");
    expect(doctor.json).toMatchObject({ ok: true });
    expect(doctor.exitCode).toBe(0);
  });

  it("delete --where reaches more shards than one transaction of the table takes", async () => {
    const SHARDS = 64;
    await silt("init", "wide", "--dimension", "2", "--shards", `${SHARDS}`);
    const lines = Array.from({ length: 4 * SHARDS }, (_, n) =>
      JSON.stringify({ id: `r-${n}`, embedding: [1, n], metadata: { old: n > 0 } }),
    );
    const { json } = await sandbox.silt(["put", "wide", "--json"], lines.join("\n"));
    // Three items for each, of 100 that a transaction may have.
    expect(json.runs.length).toBeGreaterThan(34);
    const gone = await silt("delete", "wide", "--where", '{"old": true}', "--json");
    expect(gone).toMatchObject({ exitCode: 0 });
    const records = gone.json.runs.map(({ records }: { records: number }) => records);
    expect(records.length).toBeGreaterThan(34);
    expect(records.reduce((sum: number, each: number) => sum + each, 0)).toBe(4 * SHARDS - 1);
    const left = await silt("get", "wide", "--fresh", "--json");
    expect(left.json.records).toMatchObject([{ id: "r-0" }]);
  });

  it("sweep applies what waits, with --compact", async () => {
    await put("a");
    const waiting = await silt("sweep", "--hint-after", "0s", "--json");
    expect(waiting).toMatchObject({
      exitCode: 0,
      json: { shards: [{ pending: 1, hinted: true }] },
    });
    const swept = await silt("sweep", "--hint-after", "0s", "--compact", "--json");
    expect(swept).toMatchObject({ exitCode: 0, json: { ok: true } });
    expect(await ids()).toEqual(["a"]);
  });

  it("F23 a damaged bundle is excluded with exit code 3, listed, and retried when it is mended", async () => {
    await put("before");
    const bad = await put("lost");
    const mend = await damageBundle(sandbox.store, bad);
    const compact = await silt("compact", "--json");
    expect(compact).toMatchObject({
      exitCode: 3,
      json: { shards: [{ excluded: [{ runId: bad }] }] },
    });
    expect(await ids()).toEqual(["before"]);
    const list = await silt("quarantine", "list", "--json");
    expect(list.json.runs).toMatchObject([{ runId: bad, sequence: 2, retriedBy: null }]);
    expect(await silt("quarantine", "retry", bad)).toMatchObject({ exitCode: 3 });
    await mend();
    expect(await silt("quarantine", "retry", bad, "--json")).toMatchObject({ exitCode: 0 });
    expect(await ids("--fresh")).toEqual(["before", "lost"]);
  });
});

describe("pictures of this machine in a store on S3", () => {
  let pictures: PictureFolder;
  beforeEach(() => {
    pictures = pictureFolder();
  });
  afterEach(() => pictures[Symbol.dispose]());

  it("are ingested, skipped, and asked for", async () => {
    await pictures.paint("a.png", 1);
    await pictures.paint("b.png", 2);
    const args = ["ingest", pictures.path, "--pipeline", "image", "--json"];
    const first = await silt(...args);
    expect(first).toMatchObject({ exitCode: 0, json: { total: 2, ingested: 2, failed: 0 } });
    const again = await silt(...args);
    expect(again).toMatchObject({ exitCode: 0, json: { ingested: 0, skipped: 2 } });
    const one = await silt("status", "--source", pictures.pathOf("a.png"), "--json");
    expect(one.json).toMatchObject({ source: pictures.uriOf("a.png"), state: "pending" });
    expect(await silt("compact")).toMatchObject({ exitCode: 0 });
    const applied = await silt("status", "--source", pictures.pathOf("a.png"), "--json");
    expect(applied.json).toMatchObject({ state: "applied" });
    expect(await silt("verify", "--json")).toMatchObject({ exitCode: 0, json: { ok: true } });
  });

  it("are watched by a process, which compacts them and ends when it is interrupted", async () => {
    await pictures.paint("a.png", 3);
    const args = [COMMAND, "watch", pictures.path, "--pipeline", "image", "--json"];
    const child = spawn(process.execPath, [...args, "--store", sandbox.store], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), WATCH_MS_MAX);
    const closed = once(child, "close");
    const events: string[] = [];
    // To the end: a reader that goes away would end it in another way.
    for await (const line of createInterface({ input: child.stdout })) {
      const { event } = JSON.parse(line);
      events.push(event);
      if (event === "compacted" && !child.killed) child.kill("SIGINT");
    }
    // To be interrupted is how it ends.
    expect(await closed).toEqual([0, null]);
    clearTimeout(timer);
    expect(events).toEqual(expect.arrayContaining(["ready", "ingested", "compacted"]));
    await using store = await openStore(sandbox.store, { create: false });
    const images = await store.collection("images");
    expect((await images.get({})).records).toMatchObject([{ parent: pictures.uriOf("a.png") }]);
  });
});
