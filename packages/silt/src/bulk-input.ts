/** JSON Lines of any length: the whole input is checked and spooled to disk before anything is written. */
import {
  type CollectionIdentity,
  isSiltError,
  type PutRow,
  parsePatch,
  type RegisteredRun,
  type ShardContent,
  SiltError,
  shardNames,
  shardOf,
  writeDeltas,
} from "@silt/core";
import { createRowSpool, type RowSpool } from "@silt/segment";
import { type Acknowledgement, acknowledgementOf } from "./acknowledgement.ts";
import { EMBED_BATCH } from "./embedder-pool.ts";
import { parseRecordInput } from "./parse-input.ts";
import { cutContents, type GroupedRow } from "./shard-contents.ts";
import type { StoreContext } from "./store-context.ts";

export interface BulkOptions {
  readonly operation: "put" | "patch";
  /** First remove all earlier records of each parent that occurs. */
  readonly replace?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `check`: lines read; `write`: records registered, of all. */
  readonly onProgress?:
    | ((step: "check" | "write", done: number, total?: number) => void)
    | undefined;
}

/** Longer than any record that is not refused: id, document, metadata and 16,384 numbers. */
const LINE_BYTES_MAX = 8 * 1024 * 1024;
const NO_VECTOR = new Uint8Array(0);

/**
 * Writes records or patches from JSON Lines. Throws `invalid` with line number and reason for the
 * first bad line: then nothing was written.
 */
export async function writeLines(
  context: StoreContext,
  identity: CollectionIdentity,
  input: AsyncIterable<Uint8Array>,
  options: BulkOptions,
): Promise<Acknowledgement> {
  using spool = createRowSpool(context.tempRoot(), context.ports.logger);
  let line = 0;
  for await (const text of linesOf(input)) {
    options.signal?.throwIfAborted();
    line += 1;
    if (text.trim() === "") continue;
    inLine(line, () => addLine(identity, spool, text, line, options));
    options.onProgress?.("check", line);
  }
  let written = 0;
  const registered: RegisteredRun[] = [];
  const outcome = await writeDeltas(context.ports, identity, contentsOf(context, identity, spool), {
    signal: options.signal,
    onRegistered: (runs) => {
      registered.push(...runs);
      written += runs.reduce((sum, run) => sum + run.records, 0);
      options.onProgress?.("write", written, spool.count);
    },
  });
  return acknowledgementOf(
    identity.collection,
    outcome.outcome === "written" ? outcome.runs : registered,
  );
}

/** Says in which line it went wrong. */
function inLine(line: number, action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!isSiltError(error, "invalid")) throw error;
    const { message } = error;
    const named = message.includes(`line ${line} repeats`) ? message : `line ${line}: ${message}`;
    throw new SiltError("invalid", `${named}; nothing was written`, { cause: error });
  }
}

function addLine(
  identity: CollectionIdentity,
  spool: RowSpool,
  text: string,
  line: number,
  { operation, replace }: BulkOptions,
): void {
  let input: unknown;
  try {
    input = JSON.parse(text);
  } catch (cause) {
    throw new SiltError(
      "invalid",
      `Cannot ${operation} a record: it is not JSON (${(cause as Error).message})`,
      { cause },
    );
  }
  if (operation === "patch") {
    const row = parsePatch(input);
    spool.add(row, { line, shard: shardOf(row.id, identity.shards), group: null });
    return;
  }
  const { row, wantsVector } = parseRecordInput(identity, input);
  const stored: PutRow = wantsVector ? { ...row, embedding: NO_VECTOR } : row;
  const group = replace === true ? row.parent : null;
  spool.add(stored, { line, shard: shardOf(row.id, identity.shards), group });
}

async function* contentsOf(
  context: StoreContext,
  identity: CollectionIdentity,
  spool: RowSpool,
): AsyncGenerator<ShardContent, void> {
  for (const shard of shardNames(identity.shards)) {
    yield* cutContents(shard, withVectors(context, identity, spool.rows(shard)));
  }
}

/** Fills in the vectors of rows that want one, a batch at a time. */
async function* withVectors(
  { embedders }: StoreContext,
  identity: CollectionIdentity,
  rows: Iterable<GroupedRow>,
): AsyncGenerator<GroupedRow, void> {
  let batch: GroupedRow[] = [];
  const fill = async (): Promise<readonly GroupedRow[]> => {
    const puts = batch.flatMap(({ row }) => (row.operation === "put" ? [row] : []));
    const wanting = puts.filter((row) => row.embedding.byteLength === 0).map((row) => row.id);
    if (wanting.length === 0) return batch;
    const filled = await embedders.fill(identity, puts, new Set(wanting));
    const byId = new Map(filled.map((row) => [row.id, row]));
    return batch.map(({ row, group }) => ({ row: byId.get(row.id) ?? row, group }));
  };
  for (const row of rows) {
    batch.push(row);
    if (batch.length < EMBED_BATCH) continue;
    yield* await fill();
    batch = [];
  }
  yield* await fill();
}

/** Lines of UTF-8 in bounded memory. Throws `invalid` for a line that is too long or no UTF-8. */
async function* linesOf(input: AsyncIterable<Uint8Array>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = Buffer.alloc(0);
  let line = 0;
  const decode = (bytes: Uint8Array): string => {
    line += 1;
    try {
      return decoder.decode(bytes);
    } catch (cause) {
      const message = `line ${line}: it is not UTF-8; nothing was written`;
      throw new SiltError("invalid", message, { cause });
    }
  };
  for await (const chunk of input) {
    let bytes = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    for (let end = bytes.indexOf(10); end !== -1; end = bytes.indexOf(10)) {
      yield decode(bytes.subarray(0, end));
      bytes = bytes.subarray(end + 1);
    }
    if (bytes.length > LINE_BYTES_MAX) {
      throw new SiltError(
        "invalid",
        `line ${line + 1}: it is over ${LINE_BYTES_MAX} bytes, expected one record a line; nothing was written`,
      );
    }
    rest = bytes;
  }
  if (rest.length > 0) yield decode(rest);
}
