import { expectThat, type Role } from "../role-context.ts";

const SWEEP_CHANCE = 0.3;
const MAY_FAIL = ["unavailable", "conflict", "fenced"];

/** Collects one collection after the other, and sweeps at times. */
export const collectRole: Role = async ({ store, random, say }) => {
  return async () => {
    const collection = random.pick(await store.collections());
    if (random.chance(SWEEP_CHANCE)) {
      await store.sweep({ collection, hintAfterMs: 0 });
      say({ did: "sweep" });
    }
    for (const report of await store.gc({ collection, delete: true })) {
      const { error } = report;
      if (error !== undefined) {
        expectThat(
          MAY_FAIL.includes(error.kind),
          () =>
            `the collector of ${collection} ${report.shard} failed: ${error.kind} ${error.message}`,
        );
        say({ error: error.kind, message: error.message });
      }
      say({ did: "collection" });
      say({ did: "objects collected", count: report.deleted.length });
      say({ did: "versions retired", count: report.retired.length });
      say({ did: "runs given up", count: report.abandoned });
      if (report.fenced) say({ did: "fence" });
    }
  };
};
