import { collectShard, openCollection, shardRefs, sweepShard } from "@silt/core";
import type { Role } from "../role-context.ts";

const SWEEP_CHANCE = 0.3;

/** Collects, and sweeps at times, shard after shard. */
export const collectRole: Role = async ({ store, random, say }) => {
  const { ports, holder } = store.context;
  return async () => {
    const opened = await openCollection(ports, random.pick(await store.collections()));
    if (opened === undefined) return;
    for (const shard of shardRefs(opened.identity)) {
      if (random.chance(SWEEP_CHANCE)) {
        await sweepShard(ports, shard, { hintAfterMs: 0, stuckAfterMs: 60_000 });
        say({ did: "sweep" });
      }
      const report = await collectShard(ports, opened.identity, shard, { holder, delete: true });
      say({ did: "collection" });
      say({ did: "objects collected", count: report.deleted.length });
      say({ did: "versions retired", count: report.retired.length });
      say({ did: "runs given up", count: report.abandoned });
      if (report.fenced) say({ did: "fence" });
    }
  };
};
