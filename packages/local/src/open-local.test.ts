import fs, {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openLocalPorts } from "./open-local.ts";
import { prepareDigests } from "./row-digests.ts";
import { NEW_HEAD, optionsOf, putText, SHARD, temporaryFolder } from "./temporary-store.fixture.ts";

describe("openLocalPorts()", () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let root: string;
  beforeEach(() => {
    folder = temporaryFolder();
    root = join(folder.path, "deep", "store");
  });
  afterEach(() => folder[Symbol.dispose]());

  const open = (create: boolean) => openLocalPorts(root, { ...optionsOf(), create });
  const createOnce = async () => (await open(true))[Symbol.asyncDispose]();

  function changeLog(sql: string): void {
    const db = new Database(join(root, "log.sqlite"));
    db.unsafeMode();
    prepareDigests(db);
    db.exec(sql);
    db.close();
  }

  it("creates a store that is found again, with what was written", async () => {
    {
      await using ports = await open(true);
      await ports.log.createShard(SHARD, NEW_HEAD);
      await putText(ports.objects, "a/x.json", "x");
    }
    await using ports = await open(false);
    expect(await ports.log.readHead(SHARD)).toEqual(NEW_HEAD);
    expect(await ports.objects.head("a/x.json")).toMatchObject({ outcome: "found" });
    expect(JSON.parse(readFileSync(join(root, "silt-store.json"), "utf8"))).toMatchObject({
      format: 1,
      requires: [],
      storeKind: "folder",
    });
  });

  it("without create refuses a folder that is no store, and makes nothing", async () => {
    const refused = { name: "SiltError", kind: "invalid", message: /there is no store/ };
    await expect(open(false)).rejects.toMatchObject(refused);
    expect(readdirSync(folder.path)).toEqual([]);
    mkdirSync(root, { recursive: true });
    await expect(open(false)).rejects.toMatchObject(refused);
    expect(readdirSync(root)).toEqual([]);
  });

  it("refuses to make a store among other files, and of a file", async () => {
    for (const stranger of ["thesis.txt", "collections", "tmp/thesis.txt"]) {
      rmSync(root, { recursive: true, force: true });
      mkdirSync(join(root, "tmp"), { recursive: true });
      writeFileSync(join(root, stranger), "mine");
      await expect(open(true), stranger).rejects.toMatchObject({ kind: "invalid" });
      expect(existsSync(join(root, "silt-store.json"))).toBe(false);
    }
    rmSync(root, { recursive: true, force: true });
    writeFileSync(root, "a file");
    await expect(open(true)).rejects.toMatchObject({ name: "SiltError" });
  });

  it("finishes a creation that was interrupted anywhere", async () => {
    await createOnce();
    rmSync(join(root, "silt-store.json"));
    writeFileSync(join(root, "tmp", "4194305-0123456789ab-0123456789ab.tmp"), "half");
    await createOnce();
    rmSync(join(root, "silt-store.json"));
    rmSync(join(root, "log.sqlite"));
    await createOnce();
    await using ports = await open(false);
    expect(await ports.log.createShard(SHARD, NEW_HEAD)).toBe("created");
  });

  it("never takes a foreign database for an unfinished store's log", async () => {
    mkdirSync(root, { recursive: true });
    const db = new Database(join(root, "log.sqlite"));
    db.exec("CREATE TABLE precious (x)");
    db.close();
    await expect(open(true)).rejects.toMatchObject({ kind: "invalid" });
    expect(existsSync(join(root, "silt-store.json"))).toBe(false);
  });

  it("20 openings at once create one store", async () => {
    const opened = await Promise.all(Array.from({ length: 20 }, () => open(true)));
    const created = await Promise.all(opened.map(({ log }) => log.createShard(SHARD, NEW_HEAD)));
    expect(created.filter((outcome) => outcome === "created")).toHaveLength(1);
    for (const ports of opened) await ports[Symbol.asyncDispose]();
    expect(readdirSync(root).sort()).toEqual(["log.sqlite", "silt-store.json", "tmp"]);
    expect(readdirSync(join(root, "tmp"))).toEqual([]);
  });

  it("a store that is made while somebody opens it, who saw no marker yet, is sound", async () => {
    await createOnce();
    mkdirSync(join(root, "collections"));
    const made = join(folder.path, "made");
    fs.renameSync(root, made);
    const { existsSync: exists } = fs;
    // The first look after the one at the marker.
    fs.existsSync = (path) => {
      cpSync(made, root, { recursive: true });
      return exists(path);
    };
    syncBuiltinESMExports();
    try {
      await using ports = await open(false);
      expect(ports.root).toBe(root);
    } finally {
      fs.existsSync = exists;
      syncBuiltinESMExports();
    }
  });

  it("F52 a store whose log is gone is corrupt, and gets no new log", async () => {
    await createOnce();
    rmSync(join(root, "log.sqlite"));
    for (const create of [true, false]) {
      await expect(open(create)).rejects.toMatchObject({ kind: "corrupt", message: /is gone/ });
    }
    expect(existsSync(join(root, "log.sqlite"))).toBe(false);
  });

  it("a log that is no database, or was cut short, is corrupt", async () => {
    await createOnce();
    const whole = readFileSync(join(root, "log.sqlite"));
    writeFileSync(
      join(root, "log.sqlite"),
      "this is not a database, but it is long enough ".repeat(99),
    );
    await expect(open(false)).rejects.toMatchObject({ kind: "corrupt" });
    writeFileSync(join(root, "log.sqlite"), whole.subarray(0, 4096));
    await expect(open(false)).rejects.toMatchObject({ kind: "corrupt" });
  });

  it("F35 a log or a marker of a later format is refused", async () => {
    const later = { name: "SiltError", kind: "invalid", message: /upgrade Silt/ };
    await createOnce();
    changeLog("UPDATE meta SET value = '[\"teleport\"]' WHERE key = 'requires'");
    await expect(open(false)).rejects.toMatchObject(later);
    changeLog("UPDATE meta SET value = '[]' WHERE key = 'requires'; PRAGMA user_version = 2");
    await expect(open(false)).rejects.toMatchObject(later);
    changeLog("PRAGMA user_version = 1");
    await createOnce();
    const marker = join(root, "silt-store.json");
    const known = JSON.parse(readFileSync(marker, "utf8"));
    for (const change of [{ requires: ["teleport"] }, { format: 2 }]) {
      writeFileSync(marker, JSON.stringify({ ...known, ...change }));
      await expect(open(true)).rejects.toMatchObject(later);
    }
    writeFileSync(marker, "{");
    await expect(open(true)).rejects.toMatchObject({ kind: "corrupt" });
  });

  it("F31 a log whose tables are not those that it was made with is corrupt", async () => {
    await createOnce();
    changeLog("ALTER TABLE heads RENAME COLUMN excluding TO excludinh");
    await expect(open(false)).rejects.toMatchObject({ kind: "corrupt", message: /tables/ });
    changeLog("ALTER TABLE heads RENAME COLUMN excludinh TO excluding");
    await createOnce();
  });

  it("F53 every connection to the log has synchronous = FULL in force", async () => {
    await createOnce();
    const messages: { message: string; fields: Readonly<Record<string, unknown>> | undefined }[] =
      [];
    const options = optionsOf({ log: (_, message, fields) => messages.push({ message, fields }) });
    {
      await using ports = await openLocalPorts(root, options);
      expect(ports.root).toBe(root);
    }
    const of = (step: string) => messages.filter(({ message }) => message === `sqlite ${step}`);
    expect(of("open")).toHaveLength(2);
    expect(of("close")).toHaveLength(2);
    for (const { fields } of [...of("open"), ...of("close")]) {
      expect(fields).toMatchObject({ path: join(root, "log.sqlite"), ms: expect.any(Number) });
    }
    expect(of("durability").map(({ fields }) => fields)).toEqual(
      Array.from({ length: 2 }, () => ({
        path: join(root, "log.sqlite"),
        journalMode: "wal",
        synchronous: 2,
      })),
    );
  });

  it("a log that lost its WAL mode is corrupt rather than less durable", async () => {
    await createOnce();
    changeLog("PRAGMA journal_mode = DELETE");
    await expect(open(false)).rejects.toMatchObject({ kind: "corrupt", message: /expected wal/ });
  });

  it("a copy of a store without its empty folders is repaired", async () => {
    await createOnce();
    rmSync(join(root, "tmp"), { recursive: true });
    await using ports = await open(false);
    expect(await putText(ports.objects, "a/x.json", "x")).toMatchObject({ outcome: "stored" });
    expect(statSync(join(root, "tmp")).isDirectory()).toBe(true);
  });
});
