import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type ObjectStore, sha256Of } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type LocalPorts, openLocalPorts } from "./open-local.ts";
import { TEMP_AGE_MS_MAX, tempPath } from "./temp-file.ts";
import { optionsOf, putText, temporaryFolder } from "./temporary-store.fixture.ts";

const CONTENT = "content of a file";
const DIGEST = { bytes: CONTENT.length, sha256: sha256Of(CONTENT) };
const condition = { ifAbsent: true } as const;
const unavailable = { name: "SiltError", kind: "unavailable" };

describe("createFolderObjectStore()", () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let root: string;
  let ports: LocalPorts;
  let objects: ObjectStore;
  beforeEach(async () => {
    folder = temporaryFolder();
    root = join(folder.path, "store");
    ports = await openLocalPorts(root, optionsOf());
    objects = ports.objects;
  });
  afterEach(async () => {
    await ports[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  function sourceFile(name = "closed.bin"): { kind: "file"; path: string } {
    const path = join(folder.path, name);
    // A put may have made it read-only.
    rmSync(path, { force: true });
    writeFileSync(path, CONTENT);
    return { kind: "file", path };
  }

  it("put() links a given file instead of copying it, read-only, with the store's time", async () => {
    const source = sourceFile();
    utimesSync(source.path, 1, 1);
    await objects.put("a/x.bin", source, { condition, ...DIGEST });
    const [given, stored] = [statSync(source.path), statSync(join(root, "a/x.bin"))];
    expect(stored.ino).toBe(given.ino);
    expect(stored.mode & 0o777).toBe(0o444);
    const head = await objects.head("a/x.bin");
    expect(head).toMatchObject({ outcome: "found", modifiedAtMs: ports.clock.nowMs() });
  });

  it("put() copies a file from another device", async () => {
    const shared = "/dev/shm";
    using elsewhere = temporaryFolder(existsSync(shared) ? shared : undefined);
    const path = join(elsewhere.path, "closed.bin");
    writeFileSync(path, CONTENT);
    const put = await objects.put("a/x.bin", { kind: "file", path }, { condition, ...DIGEST });
    expect(put).toEqual({ outcome: "stored", etag: DIGEST.sha256 });
    expect(readFileSync(join(root, "a/x.bin"), "utf8")).toBe(CONTENT);
    expect(statSync(join(root, "a/x.bin")).mode & 0o777).toBe(0o444);
    expect(readdirSync(join(root, "tmp"))).toEqual([]);
  });

  it("put() copies a file that is behind a symbolic link", async () => {
    const source = sourceFile();
    const linked = join(folder.path, "linked.bin");
    symlinkSync(source.path, linked);
    await objects.put("a/x.bin", { kind: "file", path: linked }, { condition, ...DIGEST });
    const stored = statSync(join(root, "a/x.bin"));
    expect(stored.isFile()).toBe(true);
    expect(stored.ino).not.toBe(statSync(source.path).ino);
    expect(stored.mode & 0o777).toBe(0o444);
    expect(readdirSync(join(root, "tmp"))).toEqual([]);
  });

  it("put() of a file that is gone says so and stores nothing", async () => {
    const put = objects.put(
      "a/x.bin",
      { kind: "file", path: join(folder.path, "gone.bin") },
      { condition, ...DIGEST },
    );
    await expect(put).rejects.toMatchObject({ ...unavailable, message: /is gone/ });
    expect(await objects.head("a/x.bin")).toEqual({ outcome: "absent" });
  });

  it("F31 a refused put leaves no temporary file", async () => {
    const wrong = { condition, bytes: DIGEST.bytes, sha256: sha256Of("other") };
    const linked = join(folder.path, "linked.bin");
    symlinkSync(sourceFile().path, linked);
    for (const path of [sourceFile("again.bin").path, linked]) {
      const put = objects.put("a/x.bin", { kind: "file", path }, wrong);
      await expect(put).rejects.toMatchObject({ kind: "corrupt" });
    }
    expect(readdirSync(join(root, "tmp"))).toEqual([]);
  });

  it("F32 keys that would leave the folder or name the store's own files are invalid", async () => {
    const keys = [
      ...["", "/", "a//b", "a/", "/etc/passwd", "..", "a/../b", "./a", "a\\b", "a b", "ü", "a\0b"],
      ...["tmp/x", "log.sqlite", "LOG.sqlite", "log.sqlite-wal", "silt-store.json"],
      `a/${"x".repeat(256)}`,
      "a/".repeat(600).concat("x"),
    ];
    for (const key of keys) {
      const refused = { name: "SiltError", kind: "invalid" };
      await expect(putText(objects, key, "x"), key).rejects.toMatchObject(refused);
      await expect(objects.get(key, { bytesMax: 1 }), key).rejects.toMatchObject(refused);
      await expect(objects.read(key), key).rejects.toMatchObject(refused);
      await expect(objects.head(key), key).rejects.toMatchObject(refused);
      await expect(objects.delete(key), key).rejects.toMatchObject(refused);
    }
    await expect(objects.list("../", { limit: 1 })).rejects.toMatchObject({ kind: "invalid" });
  });

  it("put() below an object is invalid, for a file cannot be a folder too", async () => {
    await putText(objects, "a/x", "object");
    await expect(putText(objects, "a/x/y", "below")).rejects.toMatchObject({ kind: "invalid" });
  });

  it("list() never shows temporary files, the log or the marker", async () => {
    await putText(objects, "zzz.json", "x");
    writeFileSync(tempPath(root), "half");
    expect(await objects.list("", { limit: 10 })).toMatchObject([{ key: "zzz.json" }]);
  });

  it("delete() removes the folders that it leaves empty, and only those", async () => {
    await putText(objects, "a/b/c/x.json", "x");
    await putText(objects, "a/y.json", "y");
    await objects.delete("a/b/c/x.json");
    expect(existsSync(join(root, "a/b"))).toBe(false);
    await objects.delete("a/y.json");
    expect(readdirSync(root).sort()).not.toContain("a");
    expect(await putText(objects, "a/b/c/x.json", "x")).toMatchObject({ outcome: "stored" });
  });

  it("put() makes a folder again that another process removed because it was empty", async () => {
    await putText(objects, "a/b/c/x.json", "x");
    rmSync(join(root, "a"), { recursive: true });
    expect(await putText(objects, "a/b/c/y.json", "y")).toMatchObject({ outcome: "stored" });
    expect(await objects.head("a/b/c/y.json")).toMatchObject({ outcome: "found" });
  });

  it("puts and deletes beside each other in one folder all succeed", async () => {
    const keys = Array.from({ length: 40 }, (_, index) => `a/b/${index}.json`);
    await Promise.all(
      keys.map(async (key) => {
        expect(await putText(objects, key, key)).toMatchObject({ outcome: "stored" });
        await objects.delete(key);
      }),
    );
    expect(existsSync(join(root, "a"))).toBe(false);
  });

  it("F57 a store that was moved away is unavailable, never absent, and does not grow anew", async () => {
    await putText(objects, "a/x.json", "x");
    renameSync(root, `${root}-moved`);
    const expectUnavailable = async () => {
      await expect(objects.get("a/x.json", { bytesMax: 9 })).rejects.toMatchObject(unavailable);
      await expect(objects.read("a/x.json")).rejects.toMatchObject(unavailable);
      await expect(objects.head("a/x.json")).rejects.toMatchObject(unavailable);
      await expect(objects.list("", { limit: 9 })).rejects.toMatchObject(unavailable);
      await expect(objects.delete("a/x.json")).rejects.toMatchObject(unavailable);
      await expect(putText(objects, "b/y.json", "y")).rejects.toMatchObject(unavailable);
      const source = sourceFile();
      const put = objects.put("b/z.json", source, { condition, ...DIGEST });
      await expect(put).rejects.toMatchObject(unavailable);
      const replace = putText(objects, "a/x.json", "2", { ifMatch: sha256Of("x") });
      await expect(replace).rejects.toMatchObject(unavailable);
    };
    await expectUnavailable();
    expect(existsSync(root)).toBe(false);
    // What is left of a mount when the disk is gone.
    mkdirSync(root);
    await expectUnavailable();
    expect(readdirSync(root)).toEqual([]);
    renameSync(`${root}-moved`, root);
    expect(await objects.head("a/x.json")).toMatchObject({ outcome: "found" });
  });

  it("F52 another store at the same place is unavailable, never absent", async () => {
    await putText(objects, "a/x.json", "x");
    renameSync(root, `${root}-moved`);
    const other = await openLocalPorts(root, {
      ...optionsOf(),
      random: { ...ports.random, bytes: (length) => new Uint8Array(length).fill(9) },
    });
    await other[Symbol.asyncDispose]();
    await expect(objects.head("a/x.json")).rejects.toMatchObject(unavailable);
    await expect(putText(objects, "b/y.json", "y")).rejects.toMatchObject(unavailable);
  });

  it("read() of an object that is deleted meanwhile still gives all of it", async () => {
    await putText(objects, "a/x.json", "all of it");
    const found = await objects.read("a/x.json");
    await objects.delete("a/x.json");
    if (found.outcome === "absent") throw new Error("expected the object");
    const chunks: Uint8Array[] = [];
    for await (const chunk of found.body) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe("all of it");
    const again = async () => {
      for await (const chunk of found.body) chunks.push(chunk);
    };
    await expect(again()).rejects.toMatchObject({ kind: "internal" });
  });

  it("F41 temporary files of killed processes are swept at open once they are old", async () => {
    const temp = join(root, "tmp");
    const ago = (ms: number) => (Date.now() - ms) / 1000;
    // Numbers above every system's limit are of no process.
    const dead = "4194305-0123456789ab-0123456789ab.tmp";
    const names = {
      dead,
      deadLog: `${dead}-wal`,
      predecessor: `${process.pid}-0123456789ab-0123456789ab.tmp`,
      young: "4194306-0123456789ab-0123456789ab.tmp",
      alive: `${process.ppid}-0123456789ab-0123456789ab.tmp`,
      stranger: "notes.txt",
    };
    for (const name of Object.values(names)) {
      writeFileSync(join(temp, name), "half");
      const age = name === names.young ? TEMP_AGE_MS_MAX - 60_000 : TEMP_AGE_MS_MAX + 60_000;
      utimesSync(join(temp, name), ago(age), ago(age));
    }
    const ours = tempPath(root);
    writeFileSync(ours, "half");
    utimesSync(ours, ago(2 * TEMP_AGE_MS_MAX), ago(2 * TEMP_AGE_MS_MAX));
    await using again = await openLocalPorts(root, { ...optionsOf(), create: false });
    expect(again.root).toBe(root);
    const left = readdirSync(temp).map((name) => join(temp, name));
    const kept = [names.young, names.alive, names.stranger].map((name) => join(temp, name));
    expect(left.sort()).toEqual([...kept, ours].sort());
  });

  it("put() with ifAbsent refuses a key that another process linked meanwhile", async () => {
    const source = sourceFile();
    mkdirSync(join(root, "a"));
    linkSync(source.path, join(root, "a/x.bin"));
    const put = await putText(objects, "a/x.bin", "mine");
    expect(put).toEqual({ outcome: "condition-failed" });
  });
});
