/** Whether what a reader got is a state that the writers' journals allow. */
import type { StoredRecord } from "../../../packages/silt/src/index.ts";
import { differenceOf } from "./own-records.ts";
import { expectThat } from "./role-context.ts";
import { journalPath, SlotModel } from "./role-journal.ts";
import { digestsOf, writtenRecord } from "./slot-state.ts";
import { readEpoch, slotFolder, type World } from "./world.ts";

/** Follows the journals of all writing slots, and holds answers against them. */
export class SnapshotCheck {
  readonly #world: World;
  readonly #slots: readonly string[];
  #epoch = -1;
  #models = new Map<string, SlotModel>();
  /** What was seen once must be seen again: the position of each slot's last state, shard by shard. */
  readonly #seen = new Map<string, readonly number[]>();

  constructor(world: World, slots: readonly string[]) {
    this.#world = world;
    this.#slots = slots;
  }

  /** Reads the journals on; gives the oldest states that an answer from now on may show, slot by slot. */
  begin(collection: string, fresh: boolean): ReadonlyMap<string, readonly number[]> {
    this.#follow();
    return new Map(
      [...this.#models].map(([slot, model]) => {
        const { shards } = model.stateOf(collection);
        const seen =
          this.#seen.get(`${slot}/${collection}/${fresh}`) ?? Array<number>(shards).fill(0);
        const visible = fresh ? model.visiblePosition(collection) : 0;
        return [slot, seen.map((position) => Math.max(position, visible))];
      }),
    );
  }

  /** Throws unless the records, all of one collection, are the slots' at allowed moments. */
  check(
    collection: string,
    fresh: boolean,
    records: readonly StoredRecord[],
    oldest: ReadonlyMap<string, readonly number[]>,
  ): void {
    const epoch = this.#epoch;
    this.#follow();
    // A checkpoint came between: the journals of that time are over.
    if (epoch !== this.#epoch) return;
    const bySlot = Map.groupBy(records.map(writtenRecord), ({ metadata }) => String(metadata.slot));
    for (const slot of bySlot.keys()) {
      expectThat(this.#models.has(slot), () => `${collection} has records of unknown slot ${slot}`);
    }
    for (const [slot, model] of this.#models) {
      const state = model.stateOf(collection);
      const own = bySlot.get(slot) ?? [];
      const found = state.find(digestsOf(own, state.shards), oldest.get(slot) ?? []);
      expectThat(
        found !== undefined,
        () =>
          `a ${fresh ? "fresh" : "snapshot"} read of ${collection} shows ${slot} as it never was at that time ` +
          `(allowed from ${oldest.get(slot)} to operation ${model.last}); against the newest state: ` +
          differenceOf(state.records, own),
      );
      this.#seen.set(`${slot}/${collection}/${fresh}`, found);
    }
  }

  #follow(): void {
    const epoch = readEpoch(this.#world);
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#seen.clear();
      this.#models = new Map(
        this.#slots.map((slot) => [
          slot,
          new SlotModel(journalPath(slotFolder(this.#world, slot), epoch)),
        ]),
      );
    }
    for (const model of this.#models.values()) model.follow();
  }
}
