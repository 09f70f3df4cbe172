/**
 * Seeds that broke something once, each with what it was: of the protocol, or of the simulator itself. The
 * gate runs them all. A change of what seeds stand for (`schedule-plan.ts`, the actors) makes other
 * schedules of them; then what they showed has a test of its own beside the code.
 */
export const KNOWN_SEEDS: readonly { readonly seed: number; readonly why: string }[] = [
  {
    seed: 78,
    why: "a sick machine at the first compaction: no bundle was ever good, so all are excluded",
  },
  { seed: 236, why: "a rollback slept until it had lost and its attempt was collected" },
  { seed: 848, why: "a version that was pinned once is reached by its item, not by the chain" },
  { seed: 1415, why: "two collectors take each other's plans away" },
  { seed: 3073, why: "a rollback that lost its lease leaves its announcement to the sweep" },
  {
    seed: 2_009_983,
    why: "a lost race that ends as fenced answers for a hint that others dropped",
  },
  {
    seed: 5_029_456,
    why: "a collector slept between an old pointer and items that pin versions beyond it",
  },
  { seed: 7_013_061, why: "a rollback that is refused had the lease that a compactor met" },
  { seed: 5094, why: "a retry leaves out an id whose former parent was replaced since" },
];
