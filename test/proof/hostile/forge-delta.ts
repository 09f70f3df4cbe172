/** Sound deltas of a real engine, taken apart so that a hostile writer's can be made of them. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  canonicalJson,
  type DeltaManifest,
  type Row,
  type SegmentContent,
  type SegmentOwner,
  type Workbench,
} from "@silt/core";
import Database from "better-sqlite3";
import {
  bundleOf,
  manifestFor,
  SAMPLE,
  type TarEntry,
} from "../../../packages/segment/src/hostile-bundle.fixture.ts";
import { INSERT_ROW, rowValues } from "../../../packages/segment/src/segment-rows.ts";

export type SqliteDatabase = Database.Database;

export interface SoundDelta {
  readonly manifest: DeltaManifest;
  readonly sqlite: Buffer;
}

/** What a hostile writer uploads and registers. */
export interface ForgedBundle {
  readonly tar: Buffer;
  /** What the log says that the bundle holds. */
  readonly manifest: Pick<DeltaManifest, "rows" | "replaced">;
}

const BLOCK_BYTES = 512;

/** Builds a delta as a writer does, and gives the two members of its bundle. */
export async function soundDelta(
  workbench: Workbench,
  owner: SegmentOwner,
  runId: string,
  content: SegmentContent = SAMPLE,
): Promise<SoundDelta> {
  const built = await workbench.buildDelta(owner, { runId, source: null, content });
  if (built.source.kind !== "file") throw new Error("expected a file");
  const tar = readFileSync(built.source.path);
  rmSync(built.source.path);
  const sizeAt = (header: number) =>
    Number.parseInt(tar.toString("latin1", header + 124, header + 135), 8);
  const jsonBytes = sizeAt(0);
  const header = BLOCK_BYTES + Math.ceil(jsonBytes / BLOCK_BYTES) * BLOCK_BYTES;
  const from = header + BLOCK_BYTES;
  const manifest = JSON.parse(tar.toString("utf8", BLOCK_BYTES, BLOCK_BYTES + jsonBytes));
  return { manifest, sqlite: Buffer.from(tar.subarray(from, from + sizeAt(header))) };
}

/** The same SQLite file after `damage`, as anyone's SQLite would leave it. */
export function withSql(sqlite: Uint8Array, damage: (db: SqliteDatabase) => void): Buffer {
  const path = join(tmpdir(), `forge-${process.pid}-${crypto.randomUUID()}.sqlite`);
  writeFileSync(path, sqlite);
  try {
    const db = new Database(path);
    try {
      db.unsafeMode();
      damage(db);
    } finally {
      db.close();
    }
    return readFileSync(path);
  } finally {
    for (const suffix of ["", "-journal", "-wal", "-shm"]) rmSync(path + suffix, { force: true });
  }
}

/** A bundle around these bytes, whose manifest tells the truth about them. */
export function bundleAround({ manifest }: SoundDelta, sqlite: Uint8Array): ForgedBundle {
  return { tar: bundleOf(manifestFor(manifest, sqlite), sqlite), manifest };
}

/** Adds a row with right digests, whatever is in it. */
export function insertRow(db: SqliteDatabase, row: Row): void {
  db.prepare(INSERT_ROW).run(rowValues(row, 0));
}

export const jsonMember = (manifest: object): TarEntry => ({
  name: "delta.json",
  body: Buffer.from(canonicalJson(manifest)),
});
export const sqliteMember = (sqlite: Uint8Array): TarEntry => ({
  name: "delta.sqlite",
  body: sqlite,
});
