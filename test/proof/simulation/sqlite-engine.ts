/** The real segment engine for the simulator: SQLite files in a private folder, read back for the checker. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Row, SegmentContent } from "@silt/core";
import { createSegmentEngine } from "@silt/segment";
import { type SimulatedEngine, silentLogger } from "@silt/testkit";
import Database from "better-sqlite3";

interface StoredRow {
  readonly operation: Row["operation"];
  readonly id: string;
  readonly parent: string | null;
  readonly sequence: number;
  readonly document: string | null;
  readonly metadata: string;
  readonly embedding: Uint8Array;
}

/** Reads a segment with plain SQL, sharing no code with what wrote it. */
function readSegment(path: string): SegmentContent {
  const db = new Database(path, { readonly: true, fileMustExist: true });
  try {
    const rows = db
      .prepare<[], StoredRow>(
        "SELECT operation, id, parent, sequence, document, metadata, embedding FROM rows",
      )
      .all()
      .map(rowOf);
    const replaced = db
      .prepare<[], { parent: string; sequence: number }>("SELECT parent, sequence FROM replaced")
      .all();
    return {
      rows: new Map(rows.map((row) => [row.id, row])),
      replaced: new Map(replaced.map(({ parent, sequence }) => [parent, sequence])),
    };
  } finally {
    db.close();
  }
}

function rowOf({ operation, id, parent, sequence, document, metadata, embedding }: StoredRow): Row {
  if (operation === "delete") return { operation, id, sequence };
  const text = { document, metadata: JSON.parse(metadata), sequence };
  if (operation === "patch") return { operation, id, ...text };
  return { operation, id, parent, embedding: new Uint8Array(embedding), ...text };
}

/** A real engine; dispose it to end its thread and remove its folder. */
export function createSqliteEngine(): SimulatedEngine & AsyncDisposable {
  const folder = mkdtempSync(join(tmpdir(), "silt-simulated-"));
  const engine = createSegmentEngine({ tempRoot: folder, logger: silentLogger });
  let files = 0;
  return {
    openWorkbench: () => engine.openWorkbench(),
    contentOf(bytes) {
      files += 1;
      const path = join(folder, `checked-${files}.sqlite`);
      writeFileSync(path, bytes);
      try {
        return readSegment(path);
      } finally {
        rmSync(path);
      }
    },
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
