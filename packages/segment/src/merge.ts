/**
 * The merge of adjacent segments in SQL, oldest first, by the definition in core's fold:
 * 1. start from a copy of the oldest; 2. per newer input: markers kill, patches compose, puts and
 * deletes win, replaced parents are united; 3. forget what is spent; 4. close, check, recompute
 * every digest from the bytes, and balance the books (I3).
 */
import { chmodSync, constants, copyFileSync, renameSync, rmSync } from "node:fs";
import {
  addLanes,
  canonicalJson,
  composePatches,
  countRows,
  type DigestSums,
  type DropRule,
  type Lanes,
  type Logger,
  lanesOf,
  type MergeAccount,
  NO_ACCOUNT,
  type PatchRow,
  type PutRow,
  patchPut,
  type RowCounts,
  type SegmentOwner,
  SiltError,
  sameLanes,
  type Tally,
  textDigest,
  ZERO_LANES,
} from "@silt/core";
import { auditSegment } from "./audit.ts";
import { hashFile } from "./file-digest.ts";
import { syncFile } from "./file-hash.ts";
import { ROW_COLUMNS, sumLanesSql } from "./schema.ts";
import {
  createIndexes,
  createTables,
  digestHalves,
  INSERT_ROW,
  rowOf,
  rowValues,
  type StoredRow,
  writeMeta,
} from "./segment-rows.ts";
import { checkClosed, closeFile, openForBulk, type SqliteDatabase } from "./sqlite-file.ts";

/** One input file; a delta's rows get the number of its run. */
export interface MergeSource {
  readonly path: string;
  readonly kind: "delta" | "segment";
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly rows: RowCounts;
  readonly sums: DigestSums;
}

/** The contiguous runs that a merge's output stands for. */
export interface SequenceRange {
  readonly firstSequence: number;
  readonly lastSequence: number;
}

export interface MergeResult {
  readonly bytes: number;
  readonly sha256: string;
  readonly rows: RowCounts;
  readonly replaced: number;
  readonly sums: DigestSums;
  readonly account: MergeAccount;
}

/** Patches are read in pages: they carry no vectors, but their number has no bound. */
const PATCH_PAGE_ROWS = 1_000;
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

/** Inputs go oldest first and within the range; a gap between them is a run that was excluded. */
function checkOrder(sources: readonly MergeSource[], range: SequenceRange, path: string): void {
  let after = range.firstSequence - 1;
  for (const { firstSequence, lastSequence } of sources) {
    if (firstSequence <= after || lastSequence < firstSequence) after = Number.MAX_SAFE_INTEGER;
    else after = lastSequence;
  }
  if (sources.length > 0 && after <= range.lastSequence) return;
  const inputs = sources.map((source) => `${source.firstSequence}-${source.lastSequence}`);
  throw new SiltError(
    "internal",
    `Cannot merge into "${path}": its inputs are ${inputs.join(", ") || "none"}, expected runs ` +
      `from ${range.firstSequence} to ${range.lastSequence}, oldest first`,
  );
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

function addTally(a: Tally, b: Tally): Tally {
  return { rows: a.rows + b.rows, t: addLanes(a.t, b.t) };
}

function consume(account: MergeAccount, tally: Tally): MergeAccount {
  return { ...account, consumed: addTally(account.consumed, tally) };
}

function create(account: MergeAccount, tally: Tally): MergeAccount {
  return { ...account, created: addTally(account.created, tally) };
}

type SumRow = [rows: number, t0: number, t1: number, t2: number, t3: number, ...rest: number[]];

/** Rows and Σt of a selection, with the puts and Σv among them. */
function sumSelection(db: SqliteDatabase, alias: string, from: string, ...values: unknown[]) {
  const sql =
    `SELECT COUNT(*), ${sumLanesSql(alias, "ta", "tb")}, ` +
    `COUNT(${alias}.va), ${sumLanesSql(alias, "va", "vb")} FROM ${from}`;
  const sums = db.prepare(sql).raw().get(values) as SumRow;
  return {
    tally: { rows: sums[0], t: sums.slice(1, 5) as unknown as Lanes },
    puts: sums[5] as number,
    v: sums.slice(6, 10) as unknown as Lanes,
  };
}

/** Books a selection of rows as consumed, its vectors as superseded. */
function supersede(
  db: SqliteDatabase,
  account: MergeAccount,
  alias: string,
  from: string,
  ...values: unknown[]
): MergeAccount {
  const sums = sumSelection(db, alias, from, ...values);
  return {
    ...consume(account, sums.tally),
    superseded: addLanes(account.superseded, sums.v),
    supersededRows: account.supersededRows + sums.puts,
  };
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

type PatchPair = StoredRow & {
  readonly below: StoredRow["operation"] | null;
  readonly belowDocument: string | null;
  readonly belowMetadata: string | null;
};

/**
 * What patches consume and create is booked from the bytes that were read, not from the digests
 * beside them: a patch or a patched row that was damaged breaks the balance.
 */
function applyPatches(db: SqliteDatabase, source: MergeSource, before: MergeAccount): MergeAccount {
  let account = before;
  const page = db.prepare<[string, number], PatchPair>(
    `SELECT patch.operation, patch.id, patch.parent, patch.sequence, patch.document, patch.metadata,
       patch.embedding, below.operation AS below, below.document AS belowDocument, below.metadata AS belowMetadata
     FROM source.rows AS patch LEFT JOIN main.rows AS below ON below.id = patch.id
     WHERE patch.operation = 'patch' AND patch.id > ? ORDER BY patch.id LIMIT ?`,
  );
  const insert = db.prepare(INSERT_ROW);
  const update = db.prepare(
    "UPDATE main.rows SET sequence = ?, ta = ?, tb = ?, document = ?, metadata = ? WHERE id = ?",
  );
  for (let after = ""; ; ) {
    const pairs = page.all(after, PATCH_PAGE_ROWS);
    for (const pair of pairs) {
      const sequence = source.kind === "delta" ? source.firstSequence : pair.sequence;
      const patch = rowOf(pair, sequence) as PatchRow;
      if (pair.below === null) {
        insert.run(rowValues(patch));
        continue;
      }
      account = consume(account, rowTally("patch", pair.id, pair.document, pair.metadata));
      if (pair.below !== "delete") account = patchBelow(update, pair, patch, account);
    }
    if (pairs.length < PATCH_PAGE_ROWS) return account;
    after = (pairs[pairs.length - 1] as PatchPair).id;
  }
}

function rowTally(...fields: Parameters<typeof textDigest>): Tally {
  return { rows: 1, t: lanesOf(textDigest(...fields)) };
}

function patchBelow(
  update: ReturnType<SqliteDatabase["prepare"]>,
  pair: PatchPair,
  patch: PatchRow,
  before: MergeAccount,
): MergeAccount {
  const operation = pair.below as "put" | "patch";
  const below = {
    operation,
    id: pair.id,
    parent: null,
    embedding: new Uint8Array(),
    document: pair.belowDocument,
    metadata: JSON.parse(pair.belowMetadata as string),
    sequence: 0,
  } as PutRow | PatchRow;
  const after = below.operation === "put" ? patchPut(below, patch) : composePatches(below, patch);
  const metadata = canonicalJson(after.metadata);
  const digest = textDigest(operation, pair.id, after.document, metadata);
  const [ta, tb] = digestHalves(digest);
  update.run([patch.sequence, ta, tb, after.document, metadata, pair.id]);
  const gone = rowTally(operation, pair.id, pair.belowDocument, pair.belowMetadata);
  return create(consume(before, gone), { rows: 1, t: lanesOf(digest) });
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

/**
 * No input row of a surviving id may be newer than the output's: a second, independent look. A patch
 * that met a delete left no trace, so deletes prove nothing.
 */
function checkNothingNewer(
  sources: readonly MergeSource[],
  rule: DropRule,
  path: string,
  logger: Logger,
): void {
  const gone = rule.drop === "nothing" ? "merged.id IS NULL OR" : "";
  const db = openForBulk(path, logger);
  try {
    for (const source of sources.slice(1)) {
      db.prepare("ATTACH ? AS source").run(source.path);
      const stamp = source.kind === "delta" ? String(source.firstSequence) : "input.sequence";
      const newer = db
        .prepare(
          `SELECT input.id FROM source.rows AS input LEFT JOIN main.rows AS merged ON merged.id = input.id
           WHERE ${gone} (merged.operation <> 'delete' AND merged.sequence < ${stamp}) LIMIT 1`,
        )
        .pluck()
        .get();
      db.exec("DETACH source");
      if (newer !== undefined) {
        throw new SiltError(
          "internal",
          `Cannot merge into "${path}": id "${newer}" lost its newest row`,
        );
      }
    }
  } finally {
    closeFile(db, logger);
  }
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

function checkBalance(
  sources: readonly MergeSource[],
  out: { readonly rows: RowCounts; readonly sums: DigestSums },
  account: MergeAccount,
  path: string,
): void {
  const vIn = sources.reduce((sum, source) => addLanes(sum, source.sums.v), ZERO_LANES);
  const tIn = sources.reduce((sum, source) => addLanes(sum, source.sums.t), ZERO_LANES);
  const rowsIn = sources.reduce((sum, source) => sum + countRows(source.rows), 0);
  const putsIn = sources.reduce((sum, source) => sum + source.rows.put, 0);
  const { created, consumed } = account;
  const balanced =
    sameLanes(vIn, addLanes(out.sums.v, account.superseded)) &&
    putsIn === out.rows.put + account.supersededRows &&
    sameLanes(addLanes(tIn, created.t), addLanes(out.sums.t, consumed.t)) &&
    rowsIn + created.rows === countRows(out.rows) + consumed.rows;
  if (!balanced) {
    throw new SiltError(
      "internal",
      `Cannot publish merge "${path}": its accounts do not balance (${rowsIn} rows in, ` +
        `${created.rows} created, ${countRows(out.rows)} out, ${consumed.rows} consumed)`,
    );
  }
}
