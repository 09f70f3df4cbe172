/** Connections to the log database, the one SQLite file of a store that several processes share. */
import { closeSync, fsyncSync, linkSync, openSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Clock, type LogDamage, type Logger, type Random, SiltError } from "@silt/core";
import Database from "better-sqlite3";
import { auditLog } from "./audit-log.ts";
import { codeOf } from "./folder-error.ts";
import { checkLogSchema, createLogSchema } from "./log-schema.ts";
import { LOG_NAME } from "./object-path.ts";
import { createSoundViews, prepareDigests } from "./row-digests.ts";
import { isBusy, logDatabaseError } from "./sqlite-error.ts";
import { syncNow } from "./sync-folder.ts";
import { tempPath } from "./temp-file.ts";

export const BUSY_TIMEOUT_MS = 30_000;
const BUSY_RETRIES_MAX = 5;
const BUSY_PAUSE_MS = 50;
/** `PRAGMA synchronous` = FULL: a commit is on the disk before it is acknowledged (F53). */
const SYNCHRONOUS_FULL = 2;

export interface ConnectionPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

type Parameters = readonly (string | number | null)[];

/**
 * One connection to `log.sqlite`. Work inside it is synchronous, so that no two transactions of this
 * process interleave; a busy database is waited for and tried again, then it is `unavailable`.
 */
export class SqliteConnection implements Disposable {
  readonly path: string;
  readonly #db: Database.Database;
  readonly #ports: ConnectionPorts;
  readonly #statements = new Map<string, Database.Statement<unknown[]>>();
  readonly #fileNumber: number;

  constructor(db: Database.Database, ports: ConnectionPorts) {
    this.path = db.name;
    this.#db = db;
    this.#ports = ports;
    this.#fileNumber = statSync(db.name).ino;
  }

  /** Runs `work` on what the database holds at one moment. */
  read<T>(action: string, work: () => T): Promise<T> {
    return this.#retrying(action, () => this.#db.transaction(work).deferred());
  }

  /** Runs `work` inside BEGIN IMMEDIATE: no other process writes meanwhile; a throw rolls back. */
  write<T>(action: string, work: () => T): Promise<T> {
    const checked = () => {
      this.#checkFile(action);
      return work();
    };
    return this.#retrying(action, () => this.#db.transaction(checked).immediate());
  }

  /** What of the log is not what was written, at one moment. */
  audit(): Promise<readonly LogDamage[]> {
    return this.read("audit the log", () => auditLog(this.#db));
  }

  get<T>(sql: string, ...parameters: Parameters): T | undefined {
    return this.#prepare(sql).get(...parameters) as T | undefined;
  }

  all<T>(sql: string, ...parameters: Parameters): readonly T[] {
    return this.#prepare(sql).all(...parameters) as T[];
  }

  run(sql: string, ...parameters: Parameters): number {
    return this.#prepare(sql).run(...parameters).changes;
  }

  [Symbol.dispose](): void {
    if (!this.#db.open) return;
    timed(this.#ports.logger, "close", this.path, () => this.#db.close());
  }

  #prepare(sql: string): Database.Statement<unknown[]> {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare<unknown[]>(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** A file that was moved or replaced still takes commits, which nobody would ever see. */
  #checkFile(action: string): void {
    if (statSync(this.path, { throwIfNoEntry: false })?.ino === this.#fileNumber) return;
    throw new SiltError(
      "unavailable",
      `Cannot ${action}: "${this.path}" was moved or replaced while it was open; put it back and open the store again`,
    );
  }

  async #retrying<T>(action: string, attempt: () => T): Promise<T> {
    return retryBusy(action, this.path, this.#ports, attempt);
  }
}

async function retryBusy<T>(
  action: string,
  path: string,
  ports: ConnectionPorts,
  attempt: () => T,
): Promise<T> {
  for (let retry = 1; ; retry++) {
    try {
      return attempt();
    } catch (error) {
      if (!isBusy(error) || retry > BUSY_RETRIES_MAX) throw logDatabaseError(action, path, error);
    }
    await ports.clock.sleep(ports.random.fraction() * BUSY_PAUSE_MS * 2 ** retry);
  }
}

function timed<T>(logger: Logger, step: string, path: string, action: () => T): T {
  const start = performance.now();
  const result = action();
  logger.log("debug", `sqlite ${step}`, { path, ms: Math.round(performance.now() - start) });
  return result;
}

/**
 * Opens a connection to the existing log of a store. Throws `corrupt` when the log is gone or
 * damaged, `unavailable` when it cannot be opened now, `invalid` when it is of another format.
 */
export async function openLogConnection(
  root: string,
  ports: ConnectionPorts,
  busyTimeoutMs = BUSY_TIMEOUT_MS,
): Promise<SqliteConnection> {
  const path = join(root, LOG_NAME);
  if (statSync(path, { throwIfNoEntry: false }) === undefined) {
    throw new SiltError(
      "corrupt",
      `Cannot open store "${root}": its log "${LOG_NAME}" is gone; restore it from a backup, it is never made anew`,
    );
  }
  return retryBusy("open the log", path, ports, () => {
    const db = timed(
      ports.logger,
      "open",
      path,
      () => new Database(path, { fileMustExist: true, timeout: busyTimeoutMs }),
    );
    try {
      prepareDigests(db);
      checkLogSchema(db);
      createSoundViews(db);
      requireDurableCommits(db, ports.logger);
      return new SqliteConnection(db, ports);
    } catch (error) {
      db.close();
      throw error;
    }
  });
}

/** Sets what makes a commit durable and reads it back, for better-sqlite3 opens WAL files with NORMAL. */
function requireDurableCommits(db: Database.Database, logger: Logger): void {
  db.pragma("synchronous = FULL");
  // macOS keeps fsynced bytes in the disk's cache without these; elsewhere they do nothing.
  db.pragma("fullfsync = ON");
  db.pragma("checkpoint_fullfsync = ON");
  const journalMode = db.pragma("journal_mode", { simple: true });
  const synchronous = db.pragma("synchronous", { simple: true });
  logger.log("debug", "sqlite durability", { path: db.name, journalMode, synchronous });
  if (journalMode === "wal" && synchronous === SYNCHRONOUS_FULL) return;
  throw new SiltError(
    "corrupt",
    `Cannot open log "${db.name}": its journal is ${journalMode} and synchronous is ${synchronous}, expected wal and ${SYNCHRONOUS_FULL}`,
  );
}

/**
 * Makes the log of a new store: filled and closed under a temporary name, then linked, so that it
 * is never half there. When another process was faster, its log stays.
 */
export function createLogFile(root: string, logger: Logger): void {
  const path = join(root, LOG_NAME);
  const temporary = tempPath(root);
  try {
    const db = timed(logger, "open", temporary, () => new Database(temporary));
    try {
      createLogSchema(db);
      db.pragma("journal_mode = WAL");
    } finally {
      timed(logger, "close", temporary, () => db.close());
    }
    // Nobody has this file open as a database, so closing it drops no lock.
    const descriptor = openSync(temporary, "r+");
    fsyncSync(descriptor);
    closeSync(descriptor);
    linkSync(temporary, path);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw logDatabaseError("create the log", path, error);
  } finally {
    rmSync(temporary, { force: true });
  }
  syncNow(root);
}
