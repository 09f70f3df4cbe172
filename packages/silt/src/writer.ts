/** Many small writes, few deltas: a buffer in memory, with a journal also on the disk. */
import {
  type CollectionIdentity,
  checkId,
  findRegistered,
  type PatchInput,
  type PutRow,
  parsePatch,
  type RecordInput,
  type RegisteredRun,
  type Row,
  type RunDraft,
  type ShardContent,
  SiltError,
  writeDeltas,
} from "@silt/core";
import { type Acknowledgement, acknowledgementOf } from "./acknowledgement.ts";
import { type JournalOperation, openJournal, type WriteJournal } from "./journal.ts";
import { parseRecordInput } from "./parse-input.ts";
import { createShardBuffers, DELTA_BYTES_MAX, type ShardBuffers } from "./shard-contents.ts";
import type { StoreContext } from "./store-context.ts";

export interface WriterOptions {
  /** Flush when so many operations are in hand. Default 1,000. */
  readonly flushRecords?: number | undefined;
  /** Flush when the oldest operation is so old. Default 5,000 ms. */
  readonly flushMs?: number | undefined;
  /** A folder for append-only files; `put` resolves when they are synced, a crash then loses nothing. */
  readonly journal?: string | undefined;
  /** Called after each flush, from timers too. */
  readonly onFlush?: ((flushed: Acknowledgement) => void) | undefined;
}

const FLUSH_RECORDS_DEFAULT = 1_000;
const FLUSH_MS_DEFAULT = 5_000;

/** A flush whose outcome is not known yet. */
interface Attempt {
  readonly contents: readonly ShardContent[];
  readonly drafts: RunDraft[];
}

export class CollectionWriter implements AsyncDisposable {
  readonly #context: StoreContext;
  readonly #identity: CollectionIdentity;
  readonly #options: WriterOptions;
  readonly #journal: WriteJournal | undefined;
  readonly #buffers: ShardBuffers;
  #unresolved: Attempt | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Flushes run one after the other: one writer registers in order. */
  #flushing: Promise<unknown> = Promise.resolve();
  #failure: unknown;
  #closed = false;

  private constructor(
    context: StoreContext,
    identity: CollectionIdentity,
    options: WriterOptions,
    journal: WriteJournal | undefined,
  ) {
    this.#context = context;
    this.#identity = identity;
    this.#options = options;
    this.#journal = journal;
    this.#buffers = createShardBuffers(identity);
  }

  /** Opens a writer, and first writes what a journal holds from before a crash. */
  static async open(
    context: StoreContext,
    identity: CollectionIdentity,
    options: WriterOptions,
  ): Promise<CollectionWriter> {
    const { flushRecords = 1, flushMs = 1 } = options;
    if (!(Number.isInteger(flushRecords) && flushRecords > 0 && flushMs > 0)) {
      throw new SiltError(
        "invalid",
        `Cannot open a writer on "${identity.collection}": flushRecords is ${flushRecords} and flushMs ${flushMs}, expected positive numbers`,
      );
    }
    const { journal: folder } = options;
    const journal =
      folder === undefined ? undefined : await openJournal(context.ports, identity, folder);
    const writer = new CollectionWriter(context, identity, options, journal);
    try {
      for (const operation of journal?.left ?? []) writer.#apply(operation);
      if (journal !== undefined) await writer.flush();
    } catch (error) {
      journal?.close();
      throw error;
    }
    return writer;
  }

  /** Operations that no flush has made durable yet. */
  get pending(): number {
    return this.#buffers.size;
  }

  /** Takes records; resolves when they are in hand, with a journal when that is synced. */
  async put(records: readonly RecordInput[]): Promise<void> {
    await this.#take((await this.#rows(records)).map((row) => ({ row })));
  }

  /** Removes all earlier records of the parent, then takes these. */
  async replace(parent: string, records: readonly RecordInput[]): Promise<void> {
    checkId(`write to "${this.#identity.collection}"`, parent, "parent");
    const rows = await this.#rows(records.map((record) => ({ ...record, parent })));
    await this.#take([{ replace: parent }, ...rows.map((row) => ({ row }))]);
  }

  async patch(patches: readonly PatchInput[]): Promise<void> {
    await this.#take(patches.map((patch) => ({ row: parsePatch(patch) })));
  }

  async delete(selection: { readonly id?: string; readonly parent?: string }): Promise<void> {
    const { id, parent } = selection;
    const action = `write to "${this.#identity.collection}"`;
    if (id !== undefined) checkId(action, id);
    if (parent !== undefined) checkId(action, parent, "parent");
    const operations: JournalOperation[] = [];
    if (id !== undefined) operations.push({ row: { operation: "delete", id, sequence: 0 } });
    if (parent !== undefined) operations.push({ replace: parent });
    await this.#take(operations);
  }

  /** Makes everything in hand durable and registered. Throws what also failed in the background before. */
  flush(): Promise<Acknowledgement> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const flushed = this.#flushing.then(() => this.#flushNow());
    this.#flushing = flushed.catch(() => {});
    return flushed;
  }

  /** Flushes and ends the writer. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await this.flush();
    } finally {
      this.#journal?.close();
    }
  }

  async #rows(records: readonly RecordInput[]): Promise<readonly PutRow[]> {
    const parsed = records.map((record) => parseRecordInput(this.#identity, record));
    const wanting = new Set(
      parsed.filter(({ wantsVector }) => wantsVector).map(({ row }) => row.id),
    );
    const rows = parsed.map(({ row }) => row);
    return this.#context.embedders.fill(this.#identity, rows, wanting);
  }

  async #take(operations: readonly JournalOperation[]): Promise<void> {
    if (this.#closed) throw this.#refuse("it is closed");
    if (this.#failure !== undefined) await this.flush();
    this.#journal?.append(operations);
    for (const operation of operations) this.#apply(operation);
    const { flushRecords = FLUSH_RECORDS_DEFAULT, flushMs = FLUSH_MS_DEFAULT } = this.#options;
    if (this.#buffers.size >= flushRecords || this.#buffers.bytes >= DELTA_BYTES_MAX) {
      // The caller waits: what comes in faster than it can be written must not pile up.
      await this.flush();
    } else {
      this.#timer ??= setTimeout(() => void this.#flushInBackground(), flushMs);
    }
  }

  #apply(operation: JournalOperation): void {
    if ("replace" in operation) this.#buffers.replace(operation.replace);
    else this.#buffers.add(operation.row as Row);
  }

  async #flushInBackground(): Promise<void> {
    try {
      await this.flush();
    } catch (error) {
      // The next call tells its caller; the operations are still in hand.
      this.#failure = error;
    }
  }

  async #flushNow(): Promise<Acknowledgement> {
    const runs = await this.#resolve();
    if (this.#buffers.size > 0) {
      const contents = this.#buffers.take();
      const attempt: Attempt = { contents, drafts: [] };
      this.#journal?.seal();
      this.#unresolved = attempt;
      await writeDeltas(this.#context.ports, this.#identity, contents, {
        onDrafts: async (drafts) => {
          attempt.drafts.push(...drafts);
          this.#journal?.noteDrafts(drafts);
        },
        onRegistered: (registered) => runs.push(...registered),
      });
      this.#unresolved = undefined;
    }
    this.#journal?.removeSealed();
    this.#failure = undefined;
    const flushed = acknowledgementOf(this.#identity.collection, runs);
    if (runs.length > 0) this.#options.onFlush?.(flushed);
    return flushed;
  }

  /**
   * Settles a flush that failed: a run of it that was registered after all is done, the others are
   * given up for good, so that a late request cannot register them, and written again.
   */
  async #resolve(): Promise<RegisteredRun[]> {
    const attempt = this.#unresolved;
    if (attempt === undefined) return [];
    const { ports } = this.#context;
    const done = new Set<string>();
    for (const draft of attempt.drafts) {
      const settled = await ports.log.abandonRun(draft.shard, draft.runId);
      if (settled === "registered") done.add(draft.shard.shard);
    }
    this.#unresolved = undefined;
    this.#putBack(attempt.contents.filter(({ shard }) => !done.has(shard)));
    const known = attempt.drafts.filter((draft) => done.has(draft.shard.shard));
    return [...((await findRegistered(ports, known)) ?? [])];
  }

  /** What failed goes back below what came in meanwhile. */
  #putBack(contents: readonly ShardContent[]): void {
    const newer = this.#buffers.take();
    for (const { content } of [...contents, ...newer]) {
      for (const parent of content.replaced.keys()) this.#buffers.replace(parent);
      for (const row of content.rows.values()) this.#buffers.add(row);
    }
  }

  #refuse(state: string): SiltError {
    return new SiltError(
      "invalid",
      `Cannot write to "${this.#identity.collection}": the writer cannot take more, ${state}`,
    );
  }
}
