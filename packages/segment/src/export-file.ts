import { rmSync } from "node:fs";
import {
  type CollectionIdentity,
  canonicalJson,
  type Logger,
  type PutRow,
  SiltError,
} from "@silt/core";
import { type FileDigest, hashFile } from "./file-digest.ts";
import { environmentError, syncFile } from "./file-hash.ts";
import { createIndexes, createTables, INSERT_ROW, rowValues, writeMeta } from "./segment-rows.ts";
import {
  checkClosed,
  closeFile,
  integrityProblem,
  openForBulk,
  openForReading,
} from "./sqlite-file.ts";

/**
 * Writes records into one new SQLite file of the segments' layout that any `sqlite3` opens: closed,
 * checked and synced when this returns. Throws `unavailable` when the disk fails; then no file is left.
 */
export async function writeExportFile(
  path: string,
  identity: CollectionIdentity,
  records: AsyncIterable<PutRow>,
  logger: Logger,
): Promise<FileDigest & { readonly rows: number }> {
  let rows = 0;
  try {
    const db = openForBulk(path, logger);
    try {
      db.exec("BEGIN");
      createTables(db);
      const insert = db.prepare(INSERT_ROW);
      for await (const record of records) {
        insert.run(rowValues(record));
        rows += 1;
      }
      createIndexes(db);
      writeMeta(db, {
        kind: "export",
        format: "1",
        requires: "[]",
        collection: identity.collection,
        storeId: identity.storeId,
        shard: "",
        vectors: canonicalJson(identity.vectors),
        firstSequence: "0",
        lastSequence: "0",
        runId: "",
      });
      db.exec("COMMIT");
    } finally {
      closeFile(db, logger);
    }
    checkClosed(path, logger);
    checkIntegrity(path, logger);
    syncFile(path);
    return { ...hashFile(path), rows };
  } catch (error) {
    rmSync(path, { force: true });
    throw environmentError("export to", path, error);
  }
}

function checkIntegrity(path: string, logger: Logger): void {
  const db = openForReading(path, logger);
  try {
    const problem = integrityProblem(db, logger);
    if (problem === undefined) return;
    throw new SiltError("internal", `Cannot export to "${path}": integrity_check: ${problem}`);
  } finally {
    closeFile(db, logger);
  }
}
