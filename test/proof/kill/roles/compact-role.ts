import { expectThat, type Role } from "../role-context.ts";

const COUNTED = {
  lost: "lost race",
  busy: "busy",
  "nothing-to-do": "nothing to do",
};

/** Folds whatever is pending, in all collections or in one. */
export const compactRole: Role = async ({ store, random, say }) => {
  return async () => {
    const names = await store.collections();
    const reports = await store.compact(random.chance(0.5) ? undefined : random.pick(names));
    for (const { collection, shard, outcome, excluded, error } of reports) {
      expectThat(
        excluded.length === 0,
        () => `a compaction of ${collection} ${shard} excluded ${JSON.stringify(excluded)}`,
      );
      if (outcome === "flipped") continue;
      if (outcome !== "failed") {
        say({ did: COUNTED[outcome] });
        continue;
      }
      const { kind = "internal", message = "" } = error ?? {};
      expectThat(
        ["unavailable", "fenced", "conflict"].includes(kind),
        () => `a compaction of ${collection} ${shard} failed: ${kind} ${message}`,
      );
      say({ error: kind, message });
    }
  };
};
