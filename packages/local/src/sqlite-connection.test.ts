import { renameSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "@silt/core";
import { createSeededRandom, createVirtualClock, silentLogger } from "@silt/testkit";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openLocalPorts } from "./open-local.ts";
import { prepareDigests } from "./row-digests.ts";
import { openLogConnection, type SqliteConnection } from "./sqlite-connection.ts";
import { optionsOf, temporaryFolder } from "./temporary-store.fixture.ts";

describe("SqliteConnection", () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let root: string;
  let holder: Database.Database;
  let sleepsMs: number[];
  let onSleep: () => void;
  let connection: SqliteConnection;

  beforeEach(async () => {
    folder = temporaryFolder();
    root = join(folder.path, "store");
    await (await openLocalPorts(root, optionsOf()))[Symbol.asyncDispose]();
    holder = new Database(join(root, "log.sqlite"));
    sleepsMs = [];
    onSleep = () => {};
    const clock: Clock = {
      ...createVirtualClock(),
      sleep: async (ms) => {
        sleepsMs.push(ms);
        onSleep();
      },
    };
    const ports = { clock, random: createSeededRandom(2), logger: silentLogger };
    connection = await openLogConnection(root, ports, 1);
  });
  afterEach(() => {
    connection[Symbol.dispose]();
    holder.close();
    folder[Symbol.dispose]();
  });

  const insert = (key: string) =>
    connection.write("insert", () =>
      connection.run("INSERT INTO meta (key, value) VALUES (?, 'x')", key),
    );
  const has = (key: string) =>
    connection.read("look", () => connection.get("SELECT 1 FROM meta WHERE key = ?", key));

  it("F65 write() waits for a locked database with growing, jittered pauses", async () => {
    holder.exec("BEGIN IMMEDIATE");
    onSleep = () => {
      if (sleepsMs.length === 3) holder.exec("ROLLBACK");
    };
    expect(await insert("a")).toBe(1);
    expect(sleepsMs).toHaveLength(3);
    expect(new Set(sleepsMs).size).toBe(3);
  });

  it("F65 write() on a database that stays locked is unavailable after five retries", async () => {
    holder.exec("BEGIN IMMEDIATE");
    await expect(insert("a")).rejects.toMatchObject({ name: "SiltError", kind: "unavailable" });
    expect(sleepsMs).toHaveLength(5);
    holder.exec("ROLLBACK");
    expect(await has("a")).toBeUndefined();
  });

  it("write() rolls everything back when its work throws", async () => {
    const half = connection.write("insert", () => {
      connection.run("INSERT INTO meta (key, value) VALUES ('a', 'x')");
      throw new TypeError("a bug");
    });
    await expect(half).rejects.toMatchObject({ kind: "internal" });
    expect(await has("a")).toBeUndefined();
    expect(await insert("a")).toBe(1);
  });

  it("write() into a file that was moved or replaced is unavailable", async () => {
    const path = join(root, "log.sqlite");
    renameSync(path, `${path}-moved`);
    await expect(insert("a")).rejects.toMatchObject({ kind: "unavailable", message: /moved/ });
    new Database(path).exec("CREATE TABLE other (x)").close();
    await expect(insert("a")).rejects.toMatchObject({ kind: "unavailable", message: /moved/ });
    renameSync(`${path}-moved`, path);
    expect(await insert("a")).toBe(1);
  });

  it("read() sees one moment while others write", async () => {
    prepareDigests(holder);
    const count = () => connection.get<{ n: number }>("SELECT count(*) AS n FROM meta")?.n;
    const [before, after] = await connection.read("count", () => {
      const first = count();
      holder.exec("INSERT INTO meta (key, value) VALUES ('b', 'x')");
      return [first, count()];
    });
    expect(after).toBe(before);
    expect(await connection.read("count", count)).toBe((before ?? 0) + 1);
  });
});
