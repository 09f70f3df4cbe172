import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import {
  type CollectionIdentity,
  checkId,
  decodeEmbedding,
  type Metadata,
  type Metric,
  type PatchInput,
  type Policy,
  type PutRow,
  parsePatch,
  parseWhere,
  parseWhereDocument,
  type RecordInput,
  type RegisteredRun,
  SiltError,
  shardOf,
  type VectorField,
  writeDeltas,
} from "@silt/core";
import { CollectionReader, type ScanOptions, type VersionSelection } from "@silt/reader";
import { type Acknowledgement, acknowledgementOf } from "./acknowledgement.ts";
import { type AnswerOrigin, originOf } from "./answer-origin.ts";
import { type CompactReport, compactCollection } from "./compact-store.ts";
import { deleteByFilter, deleteByName } from "./delete-records.ts";
import { parseRecordInput } from "./parse-input.ts";
import { createShardBuffers, cutContents } from "./shard-contents.ts";
import type { StoreContext } from "./store-context.ts";
import { CollectionWriter, type WriterOptions } from "./writer.ts";

/** A record as it is read. `embedding` only where it was asked for. */
export interface StoredRecord {
  readonly id: string;
  readonly parent: string | null;
  readonly document: string | null;
  readonly metadata: Metadata;
  readonly embedding?: Float32Array;
}

export interface QueryResult {
  readonly id: string;
  /** `cosine` = 1 - cos, `l2` = squared distance, `ip` = 1 - dot. */
  readonly distance: number;
  readonly parent: string | null;
  readonly document: string | null;
  readonly metadata: Metadata;
}

export type QueryAnswer = AnswerOrigin & { readonly results: readonly QueryResult[] };
export type GetAnswer = AnswerOrigin & { readonly records: readonly StoredRecord[] };

export interface FilterOptions {
  /** E.g. `{ shop: "Kino", total: { $gte: 5 } }`. */
  readonly where?: object | undefined;
  /** E.g. `{ $contains: "coffee" }`. */
  readonly whereDocument?: object | undefined;
  /** Also see what no compaction has applied yet. */
  readonly fresh?: boolean | undefined;
  /** An older version: its number where there is one shard, else a number by the name of each shard. */
  readonly version?: VersionSelection | undefined;
}

/** Exactly one of `text`, `vector` and `image` (a file's path, or its bytes). */
export interface QueryOptions extends FilterOptions {
  readonly text?: string | undefined;
  readonly vector?: Float32Array | readonly number[] | undefined;
  readonly image?: string | Uint8Array | undefined;
  /** How many; default 10. */
  readonly k?: number | undefined;
}

export interface GetOptions extends FilterOptions {
  readonly ids?: readonly string[] | undefined;
  readonly parent?: string | undefined;
  readonly limit?: number | undefined;
  readonly embeddings?: boolean | undefined;
}

/** Exactly one of them. */
export interface DeleteOptions {
  readonly id?: string | readonly string[] | undefined;
  readonly parent?: string | readonly string[] | undefined;
  readonly where?: object | undefined;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** A named set of records. `Store.collection` gives one. */
export class Collection {
  readonly identity: CollectionIdentity;
  #policy: Policy;
  readonly #context: StoreContext;
  readonly #reader: CollectionReader;

  constructor(context: StoreContext, identity: CollectionIdentity, policy: Policy) {
    this.identity = identity;
    this.#policy = policy;
    this.#context = context;
    this.#reader = new CollectionReader(context.ports, identity, context);
  }

  get name(): string {
    return this.identity.collection;
  }

  get dimension(): number {
    return this.#field.dimension;
  }

  get metric(): Metric {
    return this.#field.metric;
  }

  get embedder(): string | null {
    return this.#field.embedder;
  }

  get shards(): number {
    return this.identity.shards;
  }

  /** Policy may change while a collection is open. */
  setPolicy(policy: Policy): void {
    this.#policy = policy;
  }

  /** The part that answers; for those who need more than `query` and `get` give. */
  get reader(): CollectionReader {
    return this.#reader;
  }

  get #field(): VectorField {
    return this.identity.vectors[0] as VectorField;
  }

  /**
   * Stores records, each replacing an earlier one of its id. Without `embedding` the collection's
   * embedder makes it from `document`. All are checked first; resolves once durable and registered.
   * Throws `invalid` for a bad record: then nothing was written.
   */
  async put(records: readonly RecordInput[], options: CallOptions = {}): Promise<Acknowledgement> {
    const rows = await this.#rowsOf(records);
    const byShard = Map.groupBy(rows, (row) => shardOf(row.id, this.shards));
    const contents = [...byShard].map(([shard, own]) =>
      cutContents(
        shard,
        own.map((row) => ({ row, group: null })),
      ),
    );
    return this.#write(concatenate(contents), options);
  }

  /** Removes all records of the parent and stores these instead, in one step. */
  async replace(
    parent: string,
    records: readonly RecordInput[],
    options: CallOptions = {},
  ): Promise<Acknowledgement> {
    checkId(`replace in "${this.name}"`, parent, "parent");
    const children = records.map((record) => ({ ...record, parent: record.parent ?? parent }));
    const stray = children.find((record) => record.parent !== parent);
    if (stray !== undefined) {
      throw new SiltError(
        "invalid",
        `Cannot replace parent "${parent}": record "${stray.id}" has parent "${stray.parent}"`,
      );
    }
    const rows = await this.#rowsOf(children);
    const buffers = createShardBuffers(this.identity);
    buffers.replace(parent);
    for (const row of rows) buffers.add(row);
    return this.#write(buffers.take(), options);
  }

  /** Changes documents or metadata of records that exist; a metadata key with `null` is removed. */
  async patch(patches: readonly PatchInput[], options: CallOptions = {}): Promise<Acknowledgement> {
    const buffers = createShardBuffers(this.identity);
    for (const input of patches) buffers.add(parsePatch(input));
    return this.#write(buffers.take(), options);
  }

  /** Deletes by id, by parent, or by a metadata filter, which sees everything registered before. */
  async delete(selection: DeleteOptions): Promise<Acknowledgement> {
    const { id, parent, where } = selection;
    const given = [id, parent, where].filter((part) => part !== undefined).length;
    if (given !== 1) {
      throw new SiltError(
        "invalid",
        `Cannot delete from "${this.name}": ${given} of id, parent and where are given, expected one`,
      );
    }
    const { ports } = this.#context;
    const runs =
      where === undefined
        ? await deleteByName(ports, this.identity, {
            ids: id === undefined ? [] : [id].flat(),
            parents: parent === undefined ? [] : [parent].flat(),
          })
        : await deleteByFilter(ports, this.identity, this.#reader, parseWhere(where));
    return this.#acknowledge(runs);
  }

  /** A buffer for many small writes that become few deltas. Close it, or what is in hand is lost. */
  writer(options: WriterOptions = {}): Promise<CollectionWriter> {
    return CollectionWriter.open(this.#context, this.identity, options);
  }

  /** The nearest records, nearest first; equal distances by id. Exact. */
  async query(options: QueryOptions): Promise<QueryAnswer> {
    const { fresh, version, where, whereDocument, k = 10 } = options;
    const filter = {
      where: where && parseWhere(where),
      whereDocument: whereDocument && parseWhereDocument(whereDocument),
    };
    const vector = await this.#vectorOf(options);
    const answer = await this.#reader.nearest(vector, k, filter, { fresh, version });
    const results = answer.results.map(({ record, distance }): QueryResult => {
      const { id, parent, document, metadata } = record;
      return { id, distance, parent, document, metadata };
    });
    return { ...originOf(this.name, answer), results };
  }

  /** Records by id (in the order asked), by parent or by filter (in the order of ids). */
  async get(options: GetOptions = {}): Promise<GetAnswer> {
    const { ids, parent, limit, fresh, version, where, whereDocument } = options;
    const answer = await this.#reader.records(
      {
        ids,
        parent,
        limit,
        where: where && parseWhere(where),
        whereDocument: whereDocument && parseWhereDocument(whereDocument),
      },
      { fresh, version },
    );
    const records = answer.records.map((row) => storedRecordOf(row, options.embeddings === true));
    return { ...originOf(this.name, answer), records };
  }

  /** All records of one version with their embeddings, in the order of ids, in bounded memory. */
  async *records(options: Omit<ScanOptions, "fresh"> = {}): AsyncGenerator<StoredRecord, void> {
    for await (const row of this.#reader.scan(options)) yield storedRecordOf(row, true);
  }

  /** Folds everything pending of this collection, shard by shard. */
  compact(options: CallOptions = {}): Promise<readonly CompactReport[]> {
    return compactCollection(this.#context, this.identity, this.#policy, options);
  }

  [Symbol.dispose](): void {
    this.#reader[Symbol.dispose]();
  }

  async #rowsOf(records: readonly RecordInput[]): Promise<readonly PutRow[]> {
    const seen = new Map<string, PutRow>();
    const wanting = new Set<string>();
    for (const [index, record] of records.entries()) {
      const { row, wantsVector } = parseRecordInput(this.identity, record);
      const before = seen.get(row.id);
      if (before !== undefined && !isSameRow(before, row)) {
        throw new SiltError(
          "invalid",
          `Cannot put record "${row.id}": record ${index + 1} repeats an earlier id with different content`,
        );
      }
      seen.set(row.id, row);
      if (wantsVector) wanting.add(row.id);
    }
    return this.#context.embedders.fill(this.identity, [...seen.values()], wanting);
  }

  async #write(
    contents: Parameters<typeof writeDeltas>[2],
    options: CallOptions,
  ): Promise<Acknowledgement> {
    const { ports } = this.#context;
    const written = await writeDeltas(ports, this.identity, contents, { signal: options.signal });
    return this.#acknowledge(written.outcome === "written" ? written.runs : []);
  }

  #acknowledge(runs: readonly RegisteredRun[]): Acknowledgement {
    return acknowledgementOf(this.name, runs);
  }

  async #vectorOf({ text, vector, image }: QueryOptions): Promise<Float32Array> {
    const given = [text, vector, image].filter((part) => part !== undefined).length;
    if (given !== 1) {
      throw new SiltError(
        "invalid",
        `Cannot query "${this.name}": ${given} of text, vector and image are given, expected one`,
      );
    }
    if (vector !== undefined) return Float32Array.from(vector);
    const { embedders } = this.#context;
    if (text !== undefined) {
      const [embedded] = await embedders.embedTexts(this.identity, [text]);
      return embedded as Float32Array;
    }
    const named = typeof image === "string";
    const bytes = named ? await readImage(image) : (image as Uint8Array);
    return embedders.embedImage(this.identity, { name: named ? basename(image) : "image", bytes });
  }
}

async function* concatenate<T>(parts: readonly AsyncIterable<T>[]): AsyncGenerator<T, void> {
  for (const part of parts) yield* part;
}

function isSameRow(a: PutRow, b: PutRow): boolean {
  return (
    a.parent === b.parent &&
    a.document === b.document &&
    Buffer.compare(a.embedding, b.embedding) === 0 &&
    JSON.stringify(Object.entries(a.metadata).sort()) ===
      JSON.stringify(Object.entries(b.metadata).sort())
  );
}

function storedRecordOf(row: PutRow, withEmbedding: boolean): StoredRecord {
  const { id, parent, document, metadata } = row;
  const record = { id, parent, document, metadata };
  return withEmbedding ? { ...record, embedding: decodeEmbedding(row.embedding) } : record;
}

async function readImage(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new SiltError("invalid", `Cannot read image "${path}": ${(cause as Error).message}`, {
      cause,
    });
  }
}
