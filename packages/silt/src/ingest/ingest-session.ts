/**
 * An ingest in progress: sources are prepared side by side, gathered, and registered batch by batch.
 * A source is told as done only when its batch is registered. Memory: at most a batch for each source
 * that the caller takes up at the same time, and the pictures in the hands of the threads.
 */
import { isSiltError, type Ports, type RegisteredRun, SiltError } from "@silt/core";
import { createExtractPool, type ExtractPool } from "./extract-pool.ts";
import type { ImageFile, ImageSource } from "./image-source.ts";
import type { IngestTargets } from "./open-targets.ts";
import { type PrepareContext, prepareSource } from "./prepare-source.ts";
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
/** Other processes that ingest the same source at the same time move its guard. */
const ALONE_ATTEMPTS_MAX = 10;

interface Gathered {
  readonly change: SourceChange;
  readonly mayDelete: boolean;
}

export class IngestSession implements AsyncDisposable {
  readonly #ports: Ports;
  readonly #targets: IngestTargets;
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
      const prepared = await prepareSource(this.#context, file, options);
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
      if (batch.length === 0 || (await this.#tryTogether(changesOf(batch)))) return;
      for (const each of batch) await this.#registerAlone(each);
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
        for (const change of batch) this.#options.onOutcome(outcomeOf(change));
        return true;
      } catch (error) {
        const mayPass = isSiltError(error, "unavailable") && attempt < REGISTER_ATTEMPTS_MAX;
        if (!mayPass) throw error;
        await this.#ports.clock.sleep(RETRY_PAUSE_MS);
      }
    }
  }

  /** A guard of the batch moved: guard and source are read again, and only a new source is extracted again. */
  async #registerAlone({ change, mayDelete }: Gathered): Promise<void> {
    let earlier = change;
    for (let attempt = 1; attempt <= ALONE_ATTEMPTS_MAX; attempt++) {
      const { file } = earlier;
      const prepared = await prepareSource(this.#context, file, { mayDelete, earlier });
      if (prepared.prepared === "outcome") {
        this.#options.onOutcome(prepared.outcome);
        return;
      }
      earlier = prepared.change;
      if (await this.#tryTogether([earlier])) return;
      this.#context.standings.forget();
    }
    throw new SiltError(
      "conflict",
      `Cannot ingest "${change.file.uri}": others changed it ${ALONE_ATTEMPTS_MAX} times meanwhile; try again`,
    );
  }

  #letGo(file: ImageFile): void {
    this.#inHand.get(file.uri)?.resolve();
    this.#inHand.delete(file.uri);
  }
}

const changesOf = (gathered: readonly Gathered[]) => gathered.map(({ change }) => change);
