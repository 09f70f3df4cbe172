/** Bundles as a hostile or broken writer makes them: any tar around any SQLite file. */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type DeltaManifest,
  EMPTY_RUNS_HASH,
  encodeEmbedding,
  encodeJson,
  lanesToHex,
  type ReceiveOutcome,
  type Row,
  type Run,
  type SegmentContent,
  sha256Of,
  type Workbench,
} from "@silt/core";
import { silentLogger } from "@silt/testkit";
import Database from "better-sqlite3";
import { OWNER, RUN_ID, temporaryFolder, writeFile } from "./merge-trial.fixture.ts";
import type { SqliteDatabase } from "./sqlite-file.ts";
import { createSegmentEngine } from "./workbench.ts";

const BLOCK_BYTES = 512;

export interface TarEntry {
  readonly name: string;
  readonly body?: Uint8Array;
  /** `0` file, `1` hard link, `2` symbolic link, `3` device, `5` folder, `S` sparse, `x`, `g` pax. */
  readonly type?: string;
  readonly link?: string;
  readonly prefix?: string;
  /** What the header says, whatever the body has. */
  readonly size?: number;
  /** Raw bytes of the size field. */
  readonly rawSize?: Uint8Array;
}

/** One header with its padded body. */
export function tarEntry(entry: TarEntry): Buffer {
  const { name, body = new Uint8Array(), type = "0", link = "", prefix = "" } = entry;
  const header = Buffer.alloc(BLOCK_BYTES);
  const octal = (value: number, length: number) =>
    `${value.toString(8).padStart(length - 1, "0")}\0`;
  header.write(name, 0, 100);
  header.write(octal(0o644, 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(entry.size ?? body.byteLength, 12), 124);
  if (entry.rawSize !== undefined) header.set(entry.rawSize, 124);
  header.write(octal(0, 12), 136);
  header.write("        ", 148);
  header.write(type, 156);
  header.write(link, 157, 100);
  header.write("ustar\u000000", 257);
  header.write(prefix, 345, 155);
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, "0")}\0 `,
    148,
  );
  const padding = Buffer.alloc((BLOCK_BYTES - (body.byteLength % BLOCK_BYTES)) % BLOCK_BYTES);
  return Buffer.concat([header, body, padding]);
}

export const tarOf = (...entries: readonly TarEntry[]): Buffer =>
  Buffer.concat([...entries.map(tarEntry), Buffer.alloc(2 * BLOCK_BYTES)]);

const VECTOR = encodeEmbedding([1, 2]);
export const PUT: Row = {
  operation: "put",
  id: "a",
  parent: "p",
  embedding: VECTOR,
  document: "two coffees",
  metadata: { shop: "Kino", total: 5 },
  sequence: 0,
};
const PATCH: Row = {
  operation: "patch",
  id: "b",
  document: null,
  metadata: { k: null },
  sequence: 0,
};
const DELETE: Row = { operation: "delete", id: "c", sequence: 0 };

/** One row of each operation, and a replaced parent. */
export const SAMPLE: SegmentContent = {
  rows: new Map([PUT, PATCH, DELETE].map((row) => [row.id, row])),
  replaced: new Map([["p", 0]]),
};

/** A sound delta's SQLite file, after `damage`, and the manifest that tells the truth about it. */
export function sampleDelta(
  folder: string,
  damage: (db: SqliteDatabase) => void = () => {},
  content = SAMPLE,
) {
  const path = join(folder, `${crypto.randomUUID()}.sqlite`);
  const { rows, sums } = writeFile(path, content, { kind: "delta", first: 1 });
  const db = new Database(path);
  db.unsafeMode();
  damage(db);
  db.close();
  const sqlite = readFileSync(path);
  const { collection, storeId, shard, vectors } = OWNER;
  const manifest: DeltaManifest = {
    format: 1,
    requires: [],
    kind: "delta",
    collection,
    storeId,
    shard,
    runId: RUN_ID,
    vectors: [...vectors],
    rows,
    replaced: content.replaced.size,
    sums: { v: lanesToHex(sums.v), t: lanesToHex(sums.t) },
    source: null,
    sqlite: describe(sqlite),
  };
  return { sqlite, manifest };
}

function describe(sqlite: Uint8Array): DeltaManifest["sqlite"] {
  const sha256 = createHash("sha256").update(sqlite).digest("hex");
  return { name: "delta.sqlite", bytes: sqlite.byteLength, sha256 };
}

/** The manifest for these very bytes. */
export const manifestFor = (manifest: DeltaManifest, sqlite: Uint8Array): DeltaManifest => ({
  ...manifest,
  sqlite: describe(sqlite),
});

export function bundleOf(manifest: object, sqlite: Uint8Array): Buffer {
  return tarOf(
    { name: "delta.json", body: encodeJson(manifest) },
    { name: "delta.sqlite", body: sqlite },
  );
}

/** The log's entry about a bundle, true in every field that the log can know. */
export function runOf(tar: Uint8Array, manifest: Pick<DeltaManifest, "rows" | "replaced">): Run {
  return {
    format: 1,
    requires: [],
    sequence: 7,
    runId: RUN_ID,
    delta: { key: "deltas/x.tar", bytes: tar.byteLength, sha256: sha256Of(tar), codec: "tar" },
    rows: manifest.rows,
    replaced: manifest.replaced,
    source: null,
    companions: [],
    retryOf: null,
    registeredAt: "2026-01-01T00:00:00.000Z",
    runsHash: EMPTY_RUNS_HASH,
  };
}

/** A body that arrives in pieces of an odd size. */
export async function* bodyOf(bytes: Uint8Array, pieceBytes = 7_001): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) {
    yield bytes.subarray(at, at + pieceBytes);
  }
}

/** A workbench in a folder of its own, deep enough that "../../.." would still be seen. */
export interface BundlePlace extends AsyncDisposable {
  readonly workbench: Workbench;
  /** Where tests make their files. */
  readonly scratch: string;
  /** Receives a bundle that is registered exactly as it is. */
  receive(
    tar: Uint8Array,
    manifest: Pick<DeltaManifest, "rows" | "replaced">,
  ): Promise<ReceiveOutcome>;
  /** All files outside the workbench's own folder. */
  outside(): readonly string[];
}

export async function openBundlePlace(): Promise<BundlePlace> {
  const folder = temporaryFolder();
  const tempRoot = join(folder.path, "a", "b", "temporary");
  const scratch = join(folder.path, "scratch");
  mkdirSync(tempRoot, { recursive: true });
  mkdirSync(scratch);
  const engine = createSegmentEngine({ tempRoot: () => tempRoot, logger: silentLogger });
  const workbench = await engine.openWorkbench();
  return {
    workbench,
    scratch,
    receive: (tar, manifest) => workbench.receiveDelta(OWNER, runOf(tar, manifest), bodyOf(tar)),
    outside() {
      const all = readdirSync(folder.path, { recursive: true }) as string[];
      const own = readdirSync(tempRoot).map((name) => join("a", "b", "temporary", name));
      return all.filter((path) => !own.some((mine) => path.startsWith(mine))).sort();
    },
    async [Symbol.asyncDispose]() {
      await workbench[Symbol.asyncDispose]();
      await engine[Symbol.asyncDispose]();
      folder[Symbol.dispose]();
    },
  };
}

/** Why it is poison; throws when it is not. */
export function poisonReason(received: ReceiveOutcome): string {
  if (received.outcome === "poison") return received.reason;
  throw new Error("expected poison, but it was taken as sound");
}
