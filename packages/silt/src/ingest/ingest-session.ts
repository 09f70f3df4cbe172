/**
 * An ingest in progress: sources are prepared side by side, gathered, and registered batch by batch.
 * A source is told as done only when its batch is registered and, seen once more after that, it still is
 * what was registered. For whoever was told of a change before saw the old guard, and could rightly find
 * that there was nothing to do; whoever is told of one after it sees ours. Memory: at most a batch for
 * each source that the caller takes up at the same time, and the pictures in the hands of the threads.
 */
import { type Guard, isSiltError, type Ports, type RegisteredRun } from "@silt/core";
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
/** Other processes that ingest the same source move its guard; its owner can change it meanwhile. */
const ALONE_ATTEMPTS_MAX = 10;

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
  #registering: Promise<void> = Promise.resolve();
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
    for (let other = this.#inHand.get(file.uri); other; other = this.#inHand.get(file.uri)) {
      if (this.#gathered.some(({ change }) => change.file.uri === file.uri)) await this.flush();
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
    if (this.#isFull()) await this.flush();
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

  /** Registers what was gathered. */
  async flush(): Promise<void> {
    const batch = this.#gathered;
    this.#gathered = [];
    this.#timer?.abort();
    this.#timer = undefined;
    const turn = this.#registering.then(() => this.#register(batch));
    this.#registering = turn.catch(() => {});
    await turn;
    this.#throwFailure();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer?.abort();
    if (this.#options.pool === undefined) await this.#pool[Symbol.asyncDispose]();
  }

  /** Gathers the change, after what lies there when both don't fit into one transaction. */
  async #gather(gathered: Gathered): Promise<void> {
    const exceeds = () =>
      countItems(changesOf([...this.#gathered, gathered]), this.#targets) > TRANSACTION_ITEMS_MAX;
    while (this.#gathered.length > 0 && exceeds()) await this.flush();
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
      () => this.flush().catch((error) => this.#fail(error)),
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

  async #register(batch: readonly Gathered[]): Promise<void> {
    this.#context.standings.forget();
    try {
      if (batch.length === 0) return;
      const isRegistered = await this.#tryTogether(changesOf(batch));
      const open = isRegistered ? await this.#tellWhatStands(batch) : batch;
      for (const each of open) await this.#registerAlone(each, { isRegistered });
    } finally {
      for (const { change } of batch) this.#letGo(change.file);
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
  async #tellWhatStands(batch: readonly Gathered[]): Promise<readonly Gathered[]> {
    const looks = await Promise.all(batch.map(({ change }) => this.#stands(change)));
    for (const [index, { change }] of batch.entries()) {
      if (looks[index]) this.#options.onOutcome(outcomeOf(change));
    }
    return batch.filter((_, index) => !looks[index]);
  }

  /** False when it can't be told, too: whoever reads the source again then meets the trouble. */
  async #stands({ file, stamp }: SourceChange): Promise<boolean> {
    try {
      return (await this.#context.sources.stampOf(file.uri)) === stamp;
    } catch (error) {
      if (isSiltError(error, "unavailable")) return false;
      throw error;
    }
  }

  /**
   * A guard of the batch moved, or a source that is registered is another one now: guard and source are
   * read again until both stand still, and only a new content is extracted again.
   */
  async #registerAlone(
    gathered: Gathered,
    { isRegistered }: { readonly isRegistered: boolean },
  ): Promise<void> {
    const { file } = gathered.change;
    let earlier = gathered.change;
    let registered = isRegistered ? earlier : undefined;
    let { mayDelete } = gathered;
    for (let attempt = 1; attempt <= ALONE_ATTEMPTS_MAX; attempt++) {
      // What nobody knew before is only undone: who was told that it went found nothing to delete.
      mayDelete ||= registered !== undefined && !isKnown(registered.guard);
      const prepared = await this.#prepare(file, { mayDelete, earlier });
      if (prepared.prepared === "outcome") {
        this.#options.onOutcome(concluded(prepared.outcome, registered));
        return;
      }
      earlier = prepared.change;
      if (await this.#tryTogether([earlier])) {
        if (await this.#stands(earlier)) {
          this.#options.onOutcome(outcomeOf(earlier));
          return;
        }
        registered = earlier;
      }
      this.#context.standings.forget();
    }
    const reason = `Cannot ingest "${file.uri}": it changed, or others ingested it, ${ALONE_ATTEMPTS_MAX} times meanwhile; try again`;
    this.#options.onOutcome({ source: file.uri, outcome: "unsettled", reason });
  }

  #letGo(file: ImageFile): void {
    this.#inHand.get(file.uri)?.resolve();
    this.#inHand.delete(file.uri);
  }
}

/** True when there may be records of the source. */
function isKnown(guard: Guard | undefined): boolean {
  return guard !== undefined && (guard.sourceDigest !== null || guard.failure !== null);
}

/** Where a last look found nothing to do, what this session registered is what became of the source. */
function concluded(found: SourceOutcome, registered: SourceChange | undefined): SourceOutcome {
  const isNothing = found.outcome === "unchanged" || found.outcome === "nothing";
  return isNothing && registered !== undefined ? outcomeOf(registered) : found;
}

const changesOf = (gathered: readonly Gathered[]) => gathered.map(({ change }) => change);
