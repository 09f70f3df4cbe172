import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Logger, LogLevel } from "@silt/core";
import { silentLogger } from "@silt/testkit";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { auditSegment } from "./audit.ts";
import { SAMPLE } from "./hostile-bundle.fixture.ts";
import { mergeSegments } from "./merge.ts";
import { OWNER, temporaryFolder, writeFile } from "./merge-trial.fixture.ts";
import {
  checkClosed,
  closeFile,
  headerProblem,
  integrityProblem,
  isEnvironment,
  openForBulk,
  openForReading,
  sqliteError,
} from "./sqlite-file.ts";

interface LogLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

function listeningLogger(): Logger & { readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  return { lines, log: (level, message, fields) => void lines.push({ level, message, fields }) };
}

let folder: ReturnType<typeof temporaryFolder>;
let path: string;
beforeEach(() => {
  folder = temporaryFolder();
  path = join(folder.path, "x.sqlite");
  writeFile(path, SAMPLE, { kind: "delta", first: 1 });
});
afterEach(() => folder[Symbol.dispose]());

describe("checkClosed()", () => {
  it("F29 takes a closed file and leaves it byte for byte", () => {
    const before = readFileSync(path);
    checkClosed(path, silentLogger);
    expect(readFileSync(path)).toEqual(before);
  });

  it("F29 F69 finds a writer that has the file open", () => {
    const writer = openForBulk(path, silentLogger);
    writer.exec("DELETE FROM rows");
    expect(() => checkClosed(path, silentLogger)).toThrow(/it is still open/);
    closeFile(writer, silentLogger);
    checkClosed(path, silentLogger);
  });

  it("F29 F69 finds a client that is in the middle of a read", () => {
    const client = new Database(path);
    const rows = client.prepare("SELECT id FROM rows").iterate();
    rows.next();
    expect(() => checkClosed(path, silentLogger)).toThrow(/it is still open/);
    rows.return?.();
    client.close();
    checkClosed(path, silentLogger);
  });

  it("F29 F69 finds a client whose transaction is not finished", () => {
    const client = new Database(path);
    client.exec("BEGIN IMMEDIATE; DELETE FROM rows");
    expect(() => checkClosed(path, silentLogger)).toThrow(/"-journal" lies beside it/);
    client.exec("ROLLBACK");
    client.close();
    checkClosed(path, silentLogger);
  });

  it("F29 finds a client that has it in WAL mode, whose last rows are not in the file", () => {
    const client = new Database(path);
    client.pragma("journal_mode = WAL");
    client.exec("DELETE FROM rows");
    expect(() => checkClosed(path, silentLogger)).toThrow(/"-wal" lies beside it/);
    client.close();
  });

  for (const suffix of ["-wal", "-journal", "-shm"]) {
    it(`F29 finds a left ${suffix}, and leaves it for whoever must look at it`, () => {
      writeFileSync(`${path}${suffix}`, "left");
      expect(() => checkClosed(path, silentLogger)).toThrow(`"${suffix}" lies beside it`);
      expect(existsSync(`${path}${suffix}`)).toBe(true);
    });
  }
});

describe("the debug log", () => {
  it("F29 tells open, close, lock check and integrity check with path, time and duration", () => {
    const logger = listeningLogger();
    closeFile(openForBulk(path, logger), logger);
    checkClosed(path, logger);
    const db = openForReading(path, logger);
    expect(integrityProblem(db, logger)).toBeUndefined();
    closeFile(db, logger);
    expect(logger.lines.map(({ message }) => message)).toEqual([
      "sqlite open",
      "sqlite close",
      "sqlite lock check",
      "sqlite open",
      "sqlite integrity check",
      "sqlite close",
    ]);
    for (const { level, fields } of logger.lines) {
      expect(level).toBe("debug");
      expect(fields).toEqual({
        path,
        ms: expect.any(Number),
        at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      });
    }
  });

  it("F29 tells of a merge that its output was closed, lock checked and integrity checked", () => {
    const source = writeFile(join(folder.path, "delta.sqlite"), SAMPLE, {
      kind: "delta",
      first: 1,
    });
    const logger = listeningLogger();
    const out = join(folder.path, "out.sqlite");
    const range = { firstSequence: 1, lastSequence: 1 };
    mergeSegments(OWNER, [source], range, { drop: "nothing" }, out, logger);
    const steps = logger.lines
      .filter(({ fields }) => fields?.path === out)
      .map(({ message }) => message);
    const [closed, locked, checked] = ["close", "lock check", "integrity check"].map((step) =>
      steps.indexOf(`sqlite ${step}`),
    ) as [number, number, number];
    expect(closed).toBeGreaterThan(0);
    expect(locked).toBeGreaterThan(closed);
    expect(checked).toBeGreaterThan(locked);
    expect(steps.at(-1)).toBe("sqlite close");
  });
});

describe("openForBulk()", () => {
  it("makes files with the page size and marks of a Silt file, without journal or syncs", () => {
    const db = openForBulk(join(folder.path, "new.sqlite"), silentLogger);
    const pragma = (name: string) => db.pragma(name, { simple: true });
    expect(pragma("journal_mode")).toBe("off");
    expect(pragma("synchronous")).toBe(0);
    expect(pragma("page_size")).toBe(16_384);
    expect(pragma("application_id")).toBe(0x53494c54);
    closeFile(db, silentLogger);
  });
});

describe("openForReading()", () => {
  it("refuses a file in WAL mode as corrupt and makes no side file", () => {
    const client = new Database(path);
    client.pragma("journal_mode = WAL");
    client.close();
    expect(() => openForReading(path, silentLogger)).toThrow(
      expect.objectContaining({ kind: "corrupt", message: expect.stringContaining("WAL mode") }),
    );
    expect(existsSync(`${path}-wal`)).toBe(false);
    expect(existsSync(`${path}-shm`)).toBe(false);
  });

  it("cannot write", () => {
    const db = openForReading(path, silentLogger);
    expect(() => db.exec("DELETE FROM rows")).toThrow(/readonly/);
    closeFile(db, silentLogger);
  });
});

describe("failures", () => {
  it("F23 F57 a file that cannot be opened is the environment's fault, never damage", () => {
    const gone = join(folder.path, "gone.sqlite");
    const isFolder = join(folder.path, "folder");
    mkdirSync(isFolder);
    for (const bad of [gone, isFolder]) {
      expect(() => auditSegment(bad, OWNER, {}, silentLogger)).toThrow(
        expect.objectContaining({ kind: "unavailable" }),
      );
    }
  });

  it("F23 F57 codes of SQLite are told apart: the machine's, the file's, and bugs", () => {
    const kindOf = (error: object) =>
      sqliteError("read", path, Object.assign(new Error("x"), error)).kind;
    for (const code of [
      "SQLITE_FULL",
      "SQLITE_IOERR_READ",
      "SQLITE_CANTOPEN",
      "SQLITE_BUSY",
      "SQLITE_NOMEM",
    ]) {
      expect(kindOf({ code }), code).toBe("unavailable");
      expect(isEnvironment({ code })).toBe(true);
    }
    for (const code of [
      "SQLITE_CORRUPT",
      "SQLITE_CORRUPT_INDEX",
      "SQLITE_NOTADB",
      "SQLITE_ERROR",
      "SQLITE_CONSTRAINT_UNIQUE",
    ]) {
      expect(kindOf({ code }), code).toBe("corrupt");
      expect(isEnvironment({ code })).toBe(false);
    }
    expect(kindOf({ code: "ENOSPC", syscall: "write" })).toBe("unavailable");
    expect(kindOf({})).toBe("internal");
  });

  it("F31 integrity_check names the damage of a page", () => {
    const bytes = readFileSync(path);
    // The first B-tree page after the schema's: its cell pointers.
    bytes.fill(0x7f, 16_384 + 8, 16_384 + 64);
    writeFileSync(path, bytes);
    const db = openForReading(path, silentLogger);
    expect(integrityProblem(db, silentLogger)).toMatch(/\w/);
    closeFile(db, silentLogger);
  });

  it("headerProblem() says nothing of a sound file and names what is wrong with others", () => {
    expect(headerProblem(path)).toBeUndefined();
    writeFileSync(path, "SQLite format 3\0");
    expect(headerProblem(path)).toMatch(/no SQLite file/);
  });
});
