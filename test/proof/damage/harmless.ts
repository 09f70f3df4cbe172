/**
 * Damage that nobody has to find, for nothing means what was damaged, each with its reason. A case is
 * harmless only if its entry holds and every answer was right. The list is meant to be short.
 */
import type { DamageCase, DamagedKind } from "./damage-case.ts";
import type { DamageWorld } from "./damage-world.ts";
import { soundContent } from "./log-rows.ts";

export interface Harmless {
  readonly kind: string;
  readonly reason: string;
  /** Looks at the store while it is damaged. */
  holds(world: DamageWorld, damaged: DamageCase): boolean;
}

export const HARMLESS: readonly Harmless[] = [
  {
    kind: "log.sqlite",
    reason:
      "bytes of the database file that hold no row and no structure (free space in pages, counters of the " +
      "header that SQLite makes anew): `integrity_check` is ok, and every row of every table is, byte for byte, " +
      "what was written",
    holds: (world) =>
      "soundLog" in world && soundContent(world.pathOf("log.sqlite")) === world.soundLog,
  },
  {
    kind: "log row: hint",
    reason:
      "a hint says where to look and carries no data: lost, repeated, late or wrong it costs a look " +
      "(`silt sweep` hints every shard that waits)",
    holds: () => true,
  },
  {
    kind: "plan of the collector",
    reason:
      "a plan that is gone was replaced by a later one, which is how they end; what only it knew starts to wait anew",
    holds: (_, { damage, where }) => damage === "gone" || where === "a folder in its place",
  },
  {
    kind: "reader's cache: segment",
    reason: "a copy of an object of the store, fetched again when it is gone",
    holds: (_, { damage }) => damage === "gone",
  },
  {
    kind: "reader's cache: vector file",
    reason: "it is derived from its segment, and made again when it is gone",
    holds: (_, { damage }) => damage === "gone",
  },
  {
    kind: "writer's journal",
    reason:
      "a journal that ends early (cut, zeroed or gone from some line on) is what a crash leaves before a call is " +
      "acknowledged (a disk that loses the end of what was synced cannot be told from that), bytes after its last line are a torn end; its operations assign, so that two copies of it replay as one",
    holds: (_, { damage }) => ["cut", "gone", "grown", "twice", "zeroed page"].includes(damage),
  },
  {
    kind: "policy.json",
    reason:
      "a sound policy of another time or collection: it decides when is merged and what is kept for how long, never " +
      "what an answer holds; an operator changes it at any time",
    holds: (_, { damage }) => damage === "older version" || damage === "another of its kind",
  },
];

export const harmlessOf = (kind: DamagedKind): Harmless | undefined =>
  HARMLESS.find((entry) => entry.kind === kind.name);
