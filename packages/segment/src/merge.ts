/**
 * The merge of adjacent segments in SQL, oldest first, by the definition in core's fold:
 * 1. start from a copy of the oldest; 2. per newer input: markers kill, patches compose, puts and
 * deletes win, replaced parents are united; 3. forget what is spent; 4. close, check, recompute
 * every digest from the bytes, and balance the books (I3).
 */
import { chmodSync, constants, copyFileSync, renameSync, rmSync } from "node:fs";
import {
  canonicalJson,
  type DigestSums,
  type DropRule,
  type Lanes,
  type Logger,
  type MergeAccount,
  NO_ACCOUNT,
  type RowCounts,
  type SegmentOwner,
  SiltError,
  type Tally,
  textDigest,
} from "@silt/core";
import { auditSegment, headProblems } from "./audit.ts";
import {
  checkBalance,
  checkNothingNewer,
  checkOrder,
  type MergeSource,
  type SequenceRange,
} from "./check-merge.ts";
import { hashFile } from "./file-digest.ts";
import { syncFile } from "./file-hash.ts";
import { create, type SumRow, supersede } from "./merge-account.ts";
import { applyPatches } from "./merge-patches.ts";
import { ROW_COLUMNS, sumLanesSql } from "./schema.ts";
import { createIndexes, createTables, digestHalves, writeMeta } from "./segment-rows.ts";
import {
  checkClosed,
  closeFile,
  openForBulk,
  openForReading,
  type SqliteDatabase,
} from "./sqlite-file.ts";

export type { MergeSource, SequenceRange } from "./check-merge.ts";

export interface MergeResult {
  readonly bytes: number;
  readonly sha256: string;
  readonly rows: RowCounts;
  readonly replaced: number;
  readonly sums: DigestSums;
  readonly account: MergeAccount;
}

/** Rewrite a file when more than this share of its pages is free. */
const FREE_PAGE_SHARE_MAX = 0.25;

/** Merges `sources` into a new file at `path`. Blocks; run it in a worker. */
export function mergeSegments(
  owner: SegmentOwner,
  sources: readonly MergeSource[],
  range: SequenceRange,
  rule: DropRule,
  path: string,
  logger: Logger,
): MergeResult {
  checkOrder(sources, range, path);
  const first = sources[0] as MergeSource;
  for (const source of sources) checkSchema(source.path, logger);
  const db = startOutput(first, path, logger);
  let account = NO_ACCOUNT;
  try {
    for (const source of first.kind === "segment" ? sources.slice(1) : sources) {
      account = applySource(db, source, account);
    }
    account = dropSpent(db, rule, account);
    writeMeta(db, {
      kind: "segment",
      format: "1",
      requires: "[]",
      collection: owner.collection,
      storeId: owner.storeId,
      shard: owner.shard,
      vectors: canonicalJson(owner.vectors),
      firstSequence: String(range.firstSequence),
      lastSequence: String(range.lastSequence),
      runId: "",
    });
    compactPages(db, path);
  } finally {
    closeFile(db, logger);
  }
  checkNothingNewer(sources, rule, path, logger);
  return finish(owner, sources, account, path, logger);
}

/** A segment comes with its hash alone: a trigger or a view in it would run as a part of the merge. */
function checkSchema(path: string, logger: Logger): void {
  const db = openForReading(path, logger);
  try {
    const [problem] = headProblems(db);
    if (problem !== undefined) throw new SiltError("corrupt", `Cannot merge "${path}": ${problem}`);
  } finally {
    closeFile(db, logger);
  }
}

/** A copy of an oldest segment, or an empty file when the oldest input is a delta. */
function startOutput(first: MergeSource, path: string, logger: Logger): SqliteDatabase {
  if (first.kind === "segment") {
    copyFileSync(first.path, path, constants.COPYFILE_FICLONE);
    // The input may be a link to an object that nobody may write; the copy has its mode.
    chmodSync(path, 0o600);
  }
  const db = openForBulk(path, logger);
  if (first.kind === "delta") {
    db.exec("BEGIN");
    createTables(db);
    createIndexes(db);
    db.exec("COMMIT");
  }
  return db;
}

function applySource(db: SqliteDatabase, source: MergeSource, before: MergeAccount): MergeAccount {
  db.prepare("ATTACH ? AS source").run(source.path);
  db.exec("BEGIN");
  // A delta cannot know its number: its rows carry 0.
  const stamp = source.kind === "delta" ? String(source.firstSequence) : "sequence";
  let account = killReplaced(db, stamp, before);
  account = applyPatches(db, source, account);
  account = supersede(
    db,
    account,
    "below",
    "source.rows AS above JOIN main.rows AS below ON below.id = above.id WHERE above.operation <> 'patch'",
  );
  db.exec(upsertSql(stamp));
  db.exec(
    `INSERT INTO main.replaced (parent, sequence) SELECT parent, ${stamp} FROM source.replaced WHERE true
     ON CONFLICT (parent) DO UPDATE SET sequence = excluded.sequence`,
  );
  db.exec("COMMIT");
  db.exec("DETACH source");
  return account;
}

/** Sorted by id, so that the index is filled in order. */
function upsertSql(stamp: string): string {
  const columns = ROW_COLUMNS.split(", ");
  const updates = columns
    .filter((name) => name !== "id")
    .map((name) => `${name} = excluded.${name}`);
  return `INSERT INTO main.rows (${ROW_COLUMNS})
    SELECT ${columns.map((name) => (name === "sequence" ? stamp : name)).join(", ")}
    FROM source.rows WHERE operation <> 'patch' ORDER BY id
    ON CONFLICT (id) DO UPDATE SET ${updates.join(", ")}`;
}

/** Puts of replaced parents become deletes: they must not uncover still older records. */
function killReplaced(db: SqliteDatabase, stamp: string, before: MergeAccount): MergeAccount {
  const victims =
    "main.rows AS victim WHERE victim.operation = 'put' AND victim.parent IN (SELECT parent FROM source.replaced)";
  const account = supersede(db, before, "victim", victims);
  if (account.consumed.rows === before.consumed.rows) return account;

  db.exec(
    "CREATE TEMP TABLE killed (row INTEGER PRIMARY KEY, sequence INTEGER, ta INTEGER, tb INTEGER)",
  );
  let [lastId, lastHalves] = ["", digestHalves(textDigest("delete", "", null, null))];
  const half = (index: 0 | 1) => (id: unknown) => {
    if (id !== lastId) {
      lastId = id as string;
      lastHalves = digestHalves(textDigest("delete", lastId, null, null));
    }
    return lastHalves[index];
  };
  db.function("delete_ta", { deterministic: true }, half(0));
  db.function("delete_tb", { deterministic: true }, half(1));
  db.exec(
    `INSERT INTO killed SELECT victim.row, (SELECT ${stamp} FROM source.replaced AS marker WHERE marker.parent = victim.parent),
       delete_ta(victim.id), delete_tb(victim.id) FROM ${victims}`,
  );
  const created = sumKilled(db);
  db.exec(
    `UPDATE main.rows SET operation = 'delete', parent = NULL, sequence = killed.sequence, va = NULL, vb = NULL,
       ta = killed.ta, tb = killed.tb, document = NULL, metadata = NULL, embedding = NULL
     FROM temp.killed AS killed WHERE main.rows.row = killed.row`,
  );
  db.exec("DROP TABLE killed");
  return create(account, created);
}

function sumKilled(db: SqliteDatabase): Tally {
  const sums = db
    .prepare(`SELECT COUNT(*), ${sumLanesSql("killed", "ta", "tb")} FROM temp.killed AS killed`)
    .raw()
    .get() as SumRow;
  return { rows: sums[0], t: sums.slice(1, 5) as unknown as Lanes };
}

function dropSpent(db: SqliteDatabase, rule: DropRule, before: MergeAccount): MergeAccount {
  if (rule.drop === "nothing") return before;
  const limit = rule.keepFrom ?? Number.MAX_SAFE_INTEGER;
  const spent = "main.rows AS spent WHERE spent.operation <> 'put' AND spent.sequence < ?";
  const account = supersede(db, before, "spent", spent, limit);
  db.exec("BEGIN");
  db.prepare("DELETE FROM main.rows WHERE operation <> 'put' AND sequence < ?").run(limit);
  db.prepare("DELETE FROM main.replaced WHERE sequence < ?").run(limit);
  db.exec("COMMIT");
  return account;
}

/** Gives free pages back: what was deleted must leave the file. */
function compactPages(db: SqliteDatabase, path: string): void {
  const pages = db.pragma("page_count", { simple: true }) as number;
  const free = db.pragma("freelist_count", { simple: true }) as number;
  if (free <= pages * FREE_PAGE_SHARE_MAX) return;
  db.prepare("VACUUM INTO ?").run(`${path}.vacuum`);
  db.close();
  rmSync(path);
  renameSync(`${path}.vacuum`, path);
}

function finish(
  owner: SegmentOwner,
  sources: readonly MergeSource[],
  account: MergeAccount,
  path: string,
  logger: Logger,
): MergeResult {
  checkClosed(path, logger);
  const audit = auditSegment(path, owner, { kind: "segment" }, logger);
  if (audit.problems.length > 0) {
    throw new SiltError("internal", `Cannot publish merge "${path}": ${audit.problems.join("; ")}`);
  }
  checkBalance(sources, audit, account, path);
  syncFile(path);
  const { rows, replaced, sums } = audit;
  return { ...hashFile(path), rows, replaced, sums, account };
}
