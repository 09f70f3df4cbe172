/** I5: an answer is exactly one version, and fresh the runs after it in order; it says what it lacks. */
import { type BlockedBy, type Head, type ShardRef, shardPartition } from "@silt/core";
import type { ReferenceModel } from "../../reference-model.ts";
import type { Simulation } from "../simulation.ts";
import { demand } from "../violation.ts";
import { differenceOf } from "./shard-history.ts";

/** What an answer says of itself. */
export interface AnsweredView {
  readonly version: number;
  readonly commitId: string;
  readonly appliedThrough: number;
  readonly head: Head;
  readonly behind: number;
  readonly blockedBy: BlockedBy | undefined;
}

/** What was certain when the reader was asked. */
export interface Since {
  readonly version: number;
  readonly acknowledgedThrough: number;
}

export class ReadChecker {
  readonly #sim: Simulation;
  readonly #seen = new WeakMap<object, number>();

  constructor(sim: Simulation) {
    this.#sim = sim;
  }

  begin(shard: ShardRef): Since {
    const { current, acknowledgedThrough } = this.#sim.checker.historyOf(shard);
    return { version: current.pointer.version, acknowledgedThrough };
  }

  answered(
    shard: ShardRef,
    view: AnsweredView,
    records: ReferenceModel,
    how: { readonly fresh: boolean; readonly since: Since; readonly reader: object },
  ): void {
    const { version, head, behind, blockedBy, appliedThrough } = view;
    const { since, fresh, reader } = how;
    const name = `the answer from version ${version} of ${shardPartition(shard)}`;
    demand(
      version >= since.version,
      "I5",
      () => `${name} is older than ${since.version}, which was current before`,
    );
    demand(
      version >= (this.#seen.get(reader) ?? 0),
      "I5",
      () => `${name} is older than the one before`,
    );
    this.#seen.set(reader, version);
    demand(
      head.sequence >= since.acknowledgedThrough,
      "I5",
      () => `${name} knows ${head.sequence} runs, ${since.acknowledgedThrough} were acknowledged`,
    );
    const through = fresh ? Math.max(appliedThrough, head.sequence - behind) : appliedThrough;
    demand(
      behind === Math.max(0, head.sequence - through),
      "I5",
      () => `${name} says that it lacks ${behind} runs`,
    );
    if (fresh && blockedBy === undefined) {
      demand(behind === 0, "I5", () => `${name} is fresh, but lacks ${behind} runs`);
    }
    if (blockedBy !== undefined) this.#blocked(name, blockedBy);
    this.#compare(shard, view, records, through, name);
  }

  /** An old version that was asked for. */
  answeredOld(shard: ShardRef, view: AnsweredView, records: ReferenceModel, wanted: number): void {
    const name = `the answer from old version ${wanted} of ${shardPartition(shard)}`;
    demand(view.version === wanted, "I5", () => `${name} is version ${view.version}`);
    this.#compare(shard, view, records, view.appliedThrough, name);
  }

  #blocked(name: string, { sequence, reason }: BlockedBy): void {
    this.#sim.count("blocked reads");
    demand(
      this.#sim.weather.everHurt,
      "I5",
      () => `${name} is blocked by run ${sequence} (${reason}), but nothing was damaged`,
    );
  }

  #compare(
    shard: ShardRef,
    view: AnsweredView,
    records: ReferenceModel,
    through: number,
    name: string,
  ): void {
    const history = this.#sim.checker.historyOf(shard);
    const known = history.byCommit.get(view.commitId);
    demand(
      known?.pointer.version === view.version,
      "I5",
      () => `${name}: there is no such version`,
    );
    demand(
      known.pointer.appliedThrough === view.appliedThrough,
      "I5",
      () => `${name}: it has applied ${known.pointer.appliedThrough}, not ${view.appliedThrough}`,
    );
    const model =
      through === view.appliedThrough
        ? known.model
        : history.modelAt(known.manifest.excluded, through, known);
    const difference = differenceOf(records, model);
    demand(difference === undefined, "I5", () => `${name}: ${difference}`);
  }
}
