/** The segment engine on real files: a private temporary folder for each piece of work. */
import { chmodSync, rmSync } from "node:fs";
import { mkdir, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type BuiltDelta,
  canonicalJson,
  countRows,
  type DeltaManifest,
  type Logger,
  lanesFromHex,
  lanesToHex,
  type MergedSegment,
  type MergeInput,
  type MergeOptions,
  type ReceiveOutcome,
  type Row,
  type Run,
  type SegmentContent,
  type SegmentDescriptor,
  type SegmentEngine,
  type SegmentOwner,
  SiltError,
  type Workbench,
} from "@silt/core";
import { auditSegment } from "./audit.ts";
import { packBundle, readBundle } from "./delta-bundle.ts";
import { hashFile } from "./file-digest.ts";
import { environmentError, saveBody } from "./file-hash.ts";
import type { MergeSource } from "./merge.ts";
import { rowOf, type StoredRow, writeContent } from "./segment-rows.ts";
import { checkClosed, closeFile, openForBulk, openForReading, sqliteError } from "./sqlite-file.ts";
import { makeWorkFolder, removeWorkFolder } from "./work-folder.ts";
import { SegmentWorker } from "./worker-pool.ts";

const REASON_CHARS_MAX = 1_000;

export interface SegmentEngineOptions {
  /** Where private folders are made; on the store's own device files can be linked, not copied. */
  readonly tempRoot?: string | (() => string);
  readonly logger: Logger;
}

/** A {@link SegmentEngine} on SQLite files. Dispose it to end its worker thread. */
export function createSegmentEngine(
  options: SegmentEngineOptions,
): SegmentEngine & AsyncDisposable {
  const worker = new SegmentWorker(options.logger);
  return {
    async openWorkbench() {
      const { tempRoot = tmpdir() } = options;
      const root = typeof tempRoot === "string" ? tempRoot : tempRoot();
      return new FolderWorkbench(makeWorkFolder(root), worker, options.logger);
    },
    [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose](),
  };
}

class FolderWorkbench implements Workbench {
  readonly #folder: string;
  readonly #worker: SegmentWorker;
  readonly #logger: Logger;
  #files = 0;

  constructor(folder: string, worker: SegmentWorker, logger: Logger) {
    this.#folder = folder;
    this.#worker = worker;
    this.#logger = logger;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    removeWorkFolder(this.#folder, this.#logger);
  }

  async freeBytes(): Promise<number> {
    try {
      const stats = await statfs(this.#folder);
      return stats.bavail * stats.bsize;
    } catch (error) {
      throw environmentError("look at", this.#folder, error);
    }
  }

  async buildDelta(
    owner: SegmentOwner,
    draft: {
      readonly runId: string;
      readonly source: string | null;
      readonly content: SegmentContent;
    },
  ): Promise<BuiltDelta> {
    this.#files += 1;
    const folder = join(this.#folder, `delta-${this.#files}`);
    const sqlitePath = join(folder, "delta.sqlite");
    try {
      await mkdir(folder);
      this.#writeDeltaFile(sqlitePath, owner, draft);
      checkClosed(sqlitePath, this.#logger);
      const manifest = this.#describeDelta(sqlitePath, owner, draft);
      const tarPath = packBundle(folder, manifest);
      const readBack = await readBundle(tarPath, undefined);
      if (
        readBack.outcome === "poison" ||
        canonicalJson(readBack.manifest) !== canonicalJson(manifest)
      ) {
        throw new SiltError(
          "internal",
          `Cannot publish delta "${draft.runId}": its bundle reads back differently`,
        );
      }
      rmSync(sqlitePath);
      const { rows, replaced } = manifest;
      return { source: { kind: "file", path: tarPath }, ...readBack.tar, rows, replaced };
    } catch (error) {
      if (error instanceof SiltError) throw error;
      const code = (error as { code?: string }).code;
      if (code?.startsWith("SQLITE_")) throw sqliteError("write delta", sqlitePath, error);
      throw environmentError("write delta", sqlitePath, error);
    }
  }

  #writeDeltaFile(
    path: string,
    owner: SegmentOwner,
    draft: { readonly runId: string; readonly content: SegmentContent },
  ): void {
    const db = openForBulk(path, this.#logger);
    try {
      writeContent(db, draft.content, {
        kind: "delta",
        format: "1",
        requires: "[]",
        collection: owner.collection,
        storeId: owner.storeId,
        shard: owner.shard,
        vectors: canonicalJson(owner.vectors),
        firstSequence: "0",
        lastSequence: "0",
        runId: draft.runId,
      });
    } finally {
      closeFile(db, this.#logger);
    }
  }

  /** Audits the closed file by reading it back; the manifest tells what was read, not what was meant. */
  #describeDelta(
    path: string,
    owner: SegmentOwner,
    draft: {
      readonly runId: string;
      readonly source: string | null;
      readonly content: SegmentContent;
    },
  ): DeltaManifest {
    const audit = auditSegment(path, owner, { kind: "delta", runId: draft.runId }, this.#logger);
    if (audit.problems.length > 0) {
      throw new SiltError(
        "internal",
        `Cannot publish delta "${draft.runId}": ${audit.problems.join("; ")}`,
      );
    }
    if (
      countRows(audit.rows) !== draft.content.rows.size ||
      audit.replaced !== draft.content.replaced.size
    ) {
      throw new SiltError(
        "internal",
        `Cannot publish delta "${draft.runId}": rows are missing in its file`,
      );
    }
    const { collection, storeId, shard, vectors } = owner;
    return {
      format: 1,
      requires: [],
      kind: "delta",
      collection,
      storeId,
      shard,
      runId: draft.runId,
      vectors: [...vectors],
      rows: audit.rows,
      replaced: audit.replaced,
      sums: { v: lanesToHex(audit.sums.v), t: lanesToHex(audit.sums.t) },
      source: draft.source,
      sqlite: { name: "delta.sqlite", ...hashFile(path) },
    };
  }

  async receiveDelta(
    owner: SegmentOwner,
    run: Run,
    body: AsyncIterable<Uint8Array>,
    options: { readonly deep?: boolean; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<ReceiveOutcome> {
    const tarPath = this.#nextPath("tar");
    const saved = await saveBody(body, tarPath, run.delta.bytes);
    if (saved.bytes !== run.delta.bytes || saved.sha256 !== run.delta.sha256) {
      return {
        outcome: "poison",
        reason: `the bundle has ${saved.bytes} bytes with hash ${saved.sha256.slice(0, 12)}…, registered were ${run.delta.bytes} with ${run.delta.sha256.slice(0, 12)}…`,
      };
    }
    const sqlitePath = this.#nextPath("sqlite");
    const { deep = false, signal } = options;
    const found = await this.#worker.run(
      { task: "audit-delta", owner, run, tarPath, sqlitePath, deep },
      signal,
    );
    this.#remove(tarPath);
    if (found.outcome === "poison") return { outcome: "poison", reason: keptReason(found.reason) };
    const { rows, replaced, sums } = found.audit;
    return {
      outcome: "sound",
      input: {
        firstSequence: run.sequence,
        lastSequence: run.sequence,
        rows,
        replaced,
        sums,
        handle: { kind: "delta", path: sqlitePath } satisfies FileHandle,
      },
    };
  }

  async readDelta(input: MergeInput): Promise<SegmentContent> {
    const db = openForReading((input.handle as FileHandle).path, this.#logger);
    try {
      const rows = new Map<string, Row>();
      const select = db.prepare<[], StoredRow>(
        "SELECT operation, id, parent, sequence, document, metadata, embedding FROM rows",
      );
      for (const stored of select.iterate())
        rows.set(stored.id, rowOf(stored, input.firstSequence));
      const parents = db.prepare<[], string>("SELECT parent FROM replaced").pluck().all();
      return { rows, replaced: new Map(parents.map((parent) => [parent, input.firstSequence])) };
    } finally {
      closeFile(db, this.#logger);
    }
  }

  async receiveSegment(
    owner: SegmentOwner,
    descriptor: SegmentDescriptor,
    body: AsyncIterable<Uint8Array>,
  ): Promise<ReceiveOutcome> {
    const { object, firstSequence, lastSequence, rows, replaced } = descriptor;
    const path = this.#nextPath("sqlite");
    const saved = await saveBody(body, path, object.bytes);
    if (saved.bytes !== object.bytes || saved.sha256 !== object.sha256) {
      return {
        outcome: "poison",
        reason: `segment "${object.key}" of ${owner.collection} does not have its registered length and hash`,
      };
    }
    const sums = { v: lanesFromHex(descriptor.sums.v), t: lanesFromHex(descriptor.sums.t) };
    const handle: FileHandle = { kind: "segment", path };
    return {
      outcome: "sound",
      input: { firstSequence, lastSequence, rows, replaced, sums, handle },
    };
  }

  auditSegment(
    owner: SegmentOwner,
    descriptor: SegmentDescriptor,
    input: MergeInput,
    options: { readonly deep: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<readonly string[]> {
    const { path } = input.handle as FileHandle;
    const { deep, signal } = options;
    const task = {
      task: "audit-segment",
      owner: pickOwner(owner),
      descriptor,
      path,
      deep,
    } as const;
    return this.#worker.run(task, signal);
  }

  async merge(
    owner: SegmentOwner,
    inputs: readonly MergeInput[],
    options: MergeOptions,
  ): Promise<MergedSegment> {
    const sources = inputs.map((input): MergeSource => {
      const { firstSequence, lastSequence, rows, sums } = input;
      return { ...(input.handle as FileHandle), firstSequence, lastSequence, rows, sums };
    });
    const path = this.#nextPath("sqlite");
    const { firstSequence, lastSequence, rule, signal } = options;
    const task = { task: "merge", owner: pickOwner(owner), sources, rule, path } as const;
    const merged = await this.#worker.run(
      { ...task, range: { firstSequence, lastSequence } },
      signal,
    );
    chmodSync(path, 0o444);
    return { source: { kind: "file", path }, ...merged };
  }

  #remove(path: string): void {
    try {
      rmSync(path);
    } catch (error) {
      throw environmentError("remove", path, error);
    }
  }

  #nextPath(extension: string): string {
    this.#files += 1;
    return join(this.#folder, `${this.#files}.${extension}`);
  }
}

interface FileHandle {
  readonly kind: "delta" | "segment";
  readonly path: string;
}

/** What is excluded is kept with its reason for good, so a hostile bundle must not choose its length. */
function keptReason(reason: string): string {
  const short = reason.slice(0, REASON_CHARS_MAX).toWellFormed();
  return short.length < reason.length ? `${short}…` : short;
}

/** Only plain data crosses to the worker. */
function pickOwner(owner: SegmentOwner): SegmentOwner {
  const { collection, storeId, shard, vectors } = owner;
  return { collection, storeId, shard, vectors };
}
