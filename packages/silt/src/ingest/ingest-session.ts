/**
 * An ingest in progress: sources are prepared side by side, gathered, and registered batch by batch.
 * A source is told as done only when its batch is registered and, seen once more after that, it still is
 * what was registered. For whoever was told of a change before saw the old guard, and could rightly find
 * that there was nothing to do; whoever is told of one after it sees ours. What is another one by then is
 * settled by itself, and holds no other batch. Memory: at most a batch for each source that the caller
 * takes up at the same time, the pictures in the hands of the threads, and a bounded number to settle.
 */
import { isSiltError, type Ports, type RegisteredRun } from "@silt/core";
import { createExtractPool, type ExtractPool } from "./extract-pool.ts";
import type { ImageFile, ImageSource } from "./image-source.ts";
import { collectionsSince, type IngestTargets } from "./open-targets.ts";
import {
  type PrepareContext,
  type PreparedSource,
  type PrepareOptions,
  prepareSource,
} from "./prepare-source.ts";
import { countItems, registerChanges, TRANSACTION_ITEMS_MAX } from "./register-changes.ts";
import { createRunStandings } from "./run-standing.ts";
import { type OpenSource, type SettleContext, settleSource, stands } from "./settle-source.ts";
import { countRecords, type SourceChange } from "./source-change.ts";
import { outcomeOf, type SourceOutcome } from "./source-outcome.ts";

export interface SessionOptions {
  /** Threads of the session's own. */
  readonly workers: number;
  /** Threads that outlive the session, instead of its own; whoever made them ends them. */
  readonly pool?: ExtractPool | undefined;
  readonly retryFailed: boolean;
  /** Ends the threads; what was gathered can still be flushed. */
  readonly signal?: AbortSignal | undefined;
  readonly onOutcome: (outcome: SourceOutcome) => void;
  readonly onRuns?: ((runs: readonly RegisteredRun[]) => void) | undefined;
}

/** A batch is registered when one of these is reached. */
const BATCH_SOURCES_MAX = 16;
const BATCH_RECORDS_MAX = 4_000;
const BATCH_MS_MAX = 2_000;
const REGISTER_ATTEMPTS_MAX = 2;
const RETRY_PAUSE_MS = 500;
/** With so many sources to be taken up again, no other ones are begun. */
const UNSETTLED_MAX = BATCH_SOURCES_MAX;

interface Gathered {
  readonly change: SourceChange;
  readonly mayDelete: boolean;
}

export class IngestSession implements AsyncDisposable {
  readonly #ports: Ports;
  #targets: IngestTargets;
  readonly #options: SessionOptions;
  readonly #pool: ExtractPool;
  readonly #context: PrepareContext;
  /** Sources that were begun and are not done. */
  readonly #inHand = new Map<string, PromiseWithResolvers<void>>();
  #gathered: Gathered[] = [];
  readonly #flushing = new Set<Promise<void>>();
  #registering: Promise<void> = Promise.resolve();
  #settling: Promise<void> = Promise.resolve();
  /** Sources that wait for a turn of `#settling`, or have it. */
  #unsettled = 0;
  #timer: AbortController | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(ports: Ports, targets: IngestTargets, sources: ImageSource, options: SessionOptions) {
    const { workers, signal, retryFailed } = options;
    this.#ports = ports;
    this.#targets = targets;
    this.#options = options;
    this.#pool = options.pool ?? createExtractPool({ workers, signal });
    const standings = createRunStandings(ports);
    this.#context = {
      ports,
      targets,
      sources,
      pool: this.#pool,
      standings,
      retryFailed,
      signal,
    };
  }

  /** Those given, and collections that others made since and that sources have records in. */
  get targets(): IngestTargets {
    return this.#targets;
  }

  /**
   * Takes one source up; returns when it is gathered or done. Throws what ends the ingest, also what
   * the registration of an earlier batch failed with.
   */
  async ingest(file: ImageFile, options: { readonly mayDelete: boolean }): Promise<void> {
    this.#throwFailure();
    while (this.#unsettled >= UNSETTLED_MAX) await this.#settling;
    for (let other = this.#inHand.get(file.uri); other; other = this.#inHand.get(file.uri)) {
      if (this.#gathered.some(({ change }) => change.file.uri === file.uri)) await this.#flush();
      else await other.promise;
    }
    this.#inHand.set(file.uri, Promise.withResolvers());
    let isGathered = false;
    try {
      const prepared = await this.#prepare(file, options);
      if (prepared.prepared === "outcome") {
        this.#options.onOutcome(prepared.outcome);
        return;
      }
      await this.#gather({ change: prepared.change, mayDelete: options.mayDelete });
      isGathered = true;
    } finally {
      if (!isGathered) this.#letGo(file);
    }
    if (this.#isFull()) await this.#flush();
  }

  async #prepare(file: ImageFile, options: PrepareOptions): Promise<PreparedSource> {
    const prepared = await prepareSource(this.#context, file, options);
    if (prepared.prepared === "outcome") return prepared;
    const { guard } = prepared.change;
    const { standings } = this.#context;
    const since = await collectionsSince(this.#ports, this.#targets, { guard, standings });
    if (since !== undefined) {
      // Added, for another source may have found one meanwhile that was not there at our look.
      const collections = new Map([...this.#targets.collections, ...since]);
      this.#targets = { ...this.#targets, collections };
    }
    return prepared;
  }

  /** Registers what was gathered; returns when all that was flushed before is done, too. */
  async flush(): Promise<void> {
    const others = Promise.allSettled(this.#flushing);
    try {
      await this.#flush();
    } finally {
      await others;
    }
    this.#throwFailure();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer?.abort();
    // Who aborted does not wait for a store that hangs.
    if (this.#options.signal?.aborted !== true) await Promise.allSettled(this.#flushing);
    if (this.#options.pool === undefined) await this.#pool[Symbol.asyncDispose]();
  }

  /** Registers what was gathered; returns when that is told, whatever became of other batches. */
  #flush(): Promise<void> {
    const batch = this.#gathered;
    this.#gathered = [];
    this.#timer?.abort();
    this.#timer = undefined;
    // Promises rather than `await`: what stands is not to be held while the others are settled.
    const flushing = this.#inTurn(() => this.#register(batch))
      .then((registered) => this.#tellWhatStands(registered))
      .then((open) => this.#settleEach(open))
      .finally(() => this.#flushing.delete(flushing));
    this.#flushing.add(flushing);
    return flushing;
  }

  /** Gathers the change, after what lies there when both don't fit into one transaction. */
  async #gather(gathered: Gathered): Promise<void> {
    const exceeds = () =>
      countItems(changesOf([...this.#gathered, gathered]), this.#targets) > TRANSACTION_ITEMS_MAX;
    while (this.#gathered.length > 0 && exceeds()) await this.#flush();
    this.#gathered.push(gathered);
    if (this.#timer === undefined) this.#flushLater();
  }

  #isFull(): boolean {
    const records = this.#gathered.reduce((sum, { change }) => sum + countRecords(change), 0);
    return this.#gathered.length >= BATCH_SOURCES_MAX || records >= BATCH_RECORDS_MAX;
  }

  #flushLater(): void {
    const timer = new AbortController();
    this.#timer = timer;
    this.#ports.clock.sleep(BATCH_MS_MAX, timer.signal).then(
      () => this.#flush().catch((error) => this.#fail(error)),
      () => {}, // flushed before
    );
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
  }

  /** A batch that the clock flushed has no caller to tell: the next one hears of it. */
  #throwFailure(): void {
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure.error;
  }

  /** One transaction at a time, in the order of the flushes. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#registering.then(work);
    this.#registering = turn.then(
      () => {},
      () => {},
    );
    return turn;
  }

  /** The batch, registered or refused together. */
  async #register(batch: readonly Gathered[]): Promise<readonly OpenSource[]> {
    this.#context.standings.forget();
    try {
      const isRegistered = batch.length > 0 && (await this.#tryTogether(changesOf(batch)));
      return batch.map((each) => ({ ...each, isRegistered }));
    } catch (error) {
      for (const { change } of batch) this.#letGo(change.file);
      throw error;
    }
  }

  /** False when a guard moved. Trouble of the environment is given a second chance. */
  async #tryTogether(batch: readonly SourceChange[]): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        const registered = await registerChanges(this.#ports, this.#targets, batch);
        if (registered.outcome === "guard-moved") return false;
        this.#options.onRuns?.(registered.runs);
        return true;
      } catch (error) {
        const mayPass = isSiltError(error, "unavailable") && attempt < REGISTER_ATTEMPTS_MAX;
        if (!mayPass) throw error;
        await this.#ports.clock.sleep(RETRY_PAUSE_MS);
      }
    }
  }

  /** Tells what became of the sources that are as they were registered, and gives the others. */
  async #tellWhatStands(batch: readonly OpenSource[]): Promise<readonly OpenSource[]> {
    const { sources } = this.#context;
    const left = new Set(batch);
    try {
      const looks = await Promise.all(
        batch.map(
          async ({ change, isRegistered }) => isRegistered && (await stands(sources, change)),
        ),
      );
      for (const [index, each] of batch.entries()) {
        if (!looks[index]) continue;
        left.delete(each);
        this.#letGo(each.change.file);
        this.#options.onOutcome(outcomeOf(each.change));
      }
      return [...left];
    } catch (error) {
      for (const { change } of left) this.#letGo(change.file);
      throw error;
    }
  }

  /** One at a time, also of several batches, so that at most one more picture is in memory. */
  #settleEach(open: readonly OpenSource[]): Promise<void> {
    if (open.length === 0) return Promise.resolve();
    this.#unsettled += open.length;
    const turn = this.#settling.then(() => this.#settle(open));
    this.#settling = turn
      .catch(() => {})
      .then(() => {
        this.#unsettled -= open.length;
      });
    return turn;
  }

  async #settle(open: readonly OpenSource[]): Promise<void> {
    const { sources, signal } = this.#context;
    const context: SettleContext = {
      ports: this.#ports,
      sources,
      signal,
      prepare: (file, options) => this.#prepare(file, options),
      register: async (change) => {
        const isRegistered = await this.#inTurn(() => this.#tryTogether([change]));
        this.#context.standings.forget();
        return isRegistered;
      },
    };
    try {
      for (const each of open) this.#options.onOutcome(await settleSource(context, each));
    } finally {
      for (const { change } of open) this.#letGo(change.file);
    }
  }

  #letGo(file: ImageFile): void {
    this.#inHand.get(file.uri)?.resolve();
    this.#inHand.delete(file.uri);
  }
}

const changesOf = (gathered: readonly Gathered[]) => gathered.map(({ change }) => change);
