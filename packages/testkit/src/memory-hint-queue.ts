import { type Hint, type HintQueue, shardPartition } from "@silt/core";

/** Hints in a Map, at most one a shard; receiving takes them off. */
export function createMemoryHintQueue(): HintQueue {
  const hints = new Map<string, Hint>();
  return {
    async send(hint) {
      hints.set(shardPartition(hint), hint);
    },
    async receive(limit) {
      const taken = [...hints.values()].slice(0, limit);
      for (const hint of taken) hints.delete(shardPartition(hint));
      return taken;
    },
  };
}
