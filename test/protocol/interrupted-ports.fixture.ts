import type { Ports } from "@silt/core";
import { portsWith, type World } from "./shard-world.fixture.ts";

/** A call of a port: its method, and its key where it has one. */
export type CallMatch = (method: string, key: string) => boolean;

export interface InterruptedPorts extends Ports {
  readonly interrupted: () => boolean;
}

/** The world's ports, which call `hook` once: before the first call that `matches`. */
export function interruptedPorts(
  world: World,
  matches: CallMatch,
  hook: () => Promise<unknown>,
): InterruptedPorts {
  let done = false;
  const before = async <T>(method: string, key: string, call: () => Promise<T>): Promise<T> => {
    if (!done && matches(method, key)) {
      done = true;
      await hook();
    }
    return call();
  };
  const { objects, log } = world.ports;
  const ports = portsWith(world, {
    objects: {
      get: (key, options) => before("get", key, () => objects.get(key, options)),
      read: (key) => before("read", key, () => objects.read(key)),
      put: (key, source, options) => before("put", key, () => objects.put(key, source, options)),
    },
    log: {
      readHead: (shard) => before("readHead", "", () => log.readHead(shard)),
      readRuns: (shard, page) => before("readRuns", "", () => log.readRuns(shard, page)),
      readApplied: (shard) => before("readApplied", "", () => log.readApplied(shard)),
      announceExclusion: (shard, commitId) =>
        before("announceExclusion", "", () => log.announceExclusion(shard, commitId)),
      resolveExclusion: (shard, commitId) =>
        before("resolveExclusion", "", () => log.resolveExclusion(shard, commitId)),
      raiseApplied: (shard, applied) =>
        before("raiseApplied", "", () => log.raiseApplied(shard, applied)),
    },
  });
  return { ...ports, interrupted: () => done };
}
