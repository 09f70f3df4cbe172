import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type Logger, SiltError } from "@silt/core";
import type { ShardProvenance, VersionSelection } from "@silt/reader";
import { environmentError, writeExportFile } from "@silt/segment";
import { type AnswerOrigin, originOf } from "./answer-origin.ts";
import type { Collection, StoredRecord } from "./collection.ts";
import { partialPath, removeStalePartials } from "./stale-partials.ts";

/** One of them: a new file, or for JSON Lines a sink. */
export type ExportTarget =
  | { readonly sqlite: string }
  | { readonly jsonl: string }
  /** Takes one line at a time; awaits back-pressure. */
  | { readonly lines: (line: string) => void | Promise<void> };

/** Which version was written, and what. */
export interface ExportReport extends Omit<AnswerOrigin, "warnings"> {
  readonly records: number;
  readonly bytes: number;
  readonly file: string | null;
  /** Of the file; null for a sink. */
  readonly sha256: string | null;
}

const BUFFER_CHARS = 1024 * 1024;

export interface ExportOptions {
  /** An older version instead of the newest. */
  readonly version?: VersionSelection | undefined;
}

/** Writes one version. A file appears under its name only when it is whole; an existing one is refused. */
export async function exportCollection(
  collection: Collection,
  target: ExportTarget,
  logger: Logger,
  options: ExportOptions = {},
): Promise<ExportReport> {
  if ("lines" in target) return exportLines(collection, options, target.lines);
  const file = resolve("sqlite" in target ? target.sqlite : target.jsonl);
  if (existsSync(file)) {
    throw new SiltError(
      "invalid",
      `Cannot export to "${file}": it exists; remove it, or name another file`,
    );
  }
  if (!existsSync(dirname(file))) {
    throw new SiltError(
      "invalid",
      `Cannot export to "${file}": its folder does not exist; make it`,
    );
  }
  const partial = partialPath(file);
  try {
    removeStalePartials(file);
    const report =
      "sqlite" in target
        ? await exportSqlite(collection, options, partial, logger)
        : await exportJsonl(collection, options, partial);
    renameSync(partial, file);
    return { ...report, file };
  } catch (error) {
    throw environmentError("export to", file, error);
  } finally {
    rmSync(partial, { force: true });
  }
}

async function exportSqlite(
  collection: Collection,
  options: ExportOptions,
  path: string,
  logger: Logger,
): Promise<Omit<ExportReport, "file">> {
  const heard = hearShards(options);
  const records = collection.reader.scan(heard);
  const written = await writeExportFile(path, collection.identity, records, logger);
  const { rows, bytes, sha256 } = written;
  return { ...whence(collection, heard.shards), records: rows, bytes, sha256 };
}

async function exportJsonl(
  collection: Collection,
  options: ExportOptions,
  path: string,
): Promise<Omit<ExportReport, "file">> {
  const descriptor = openSync(path, "wx");
  try {
    let buffered = "";
    const flush = () => {
      const bytes = Buffer.from(buffered);
      for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
      buffered = "";
    };
    const report = await exportLines(collection, options, (line) => {
      buffered += line;
      if (buffered.length >= BUFFER_CHARS) flush();
    });
    flush();
    fsyncSync(descriptor);
    return report;
  } finally {
    closeSync(descriptor);
  }
}

async function exportLines(
  collection: Collection,
  options: ExportOptions,
  sink: (line: string) => void | Promise<void>,
): Promise<ExportReport> {
  let [records, bytes] = [0, 0];
  const heard = hearShards(options);
  for await (const record of collection.records(heard)) {
    const line = `${JSON.stringify(lineOf(record))}\n`;
    await sink(line);
    records += 1;
    bytes += Buffer.byteLength(line);
  }
  return { ...whence(collection, heard.shards), records, bytes, file: null, sha256: null };
}

/** Options of a scan that keep what it says of the versions that it reads. */
function hearShards(options: ExportOptions) {
  const heard = {
    ...options,
    shards: [] as readonly ShardProvenance[],
    onShards: (shards: readonly ShardProvenance[]) => {
      heard.shards = shards;
    },
  };
  return heard;
}

function whence(
  { name }: Collection,
  shards: readonly ShardProvenance[],
): Omit<AnswerOrigin, "warnings"> {
  const { warnings: _, ...origin } = originOf(name, { shards });
  return origin;
}

/** As `put` takes it: what a record lacks is left out. */
function lineOf({ id, parent, document, metadata, embedding }: StoredRecord): object {
  return {
    id,
    ...(parent !== null && { parent }),
    embedding: Array.from(embedding ?? []),
    ...(document !== null && { document }),
    ...(Object.keys(metadata).length > 0 && { metadata }),
  };
}
