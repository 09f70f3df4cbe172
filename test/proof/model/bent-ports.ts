/** Ports that break one rule of the protocol, so that one sees that the explorer finds what is broken. */

import { type Ports, type PutOutcome, pointerKey, type ShardRef } from "@silt/core";
import type { Configuration, Program } from "@silt/testkit";

type Bend = (ports: Ports, shard: ShardRef) => Ports;

/** The same configuration, but the actors of some roles work through bent ports. */
export function bent(
  configuration: Configuration,
  roles: readonly Program["role"][],
  bend: Bend,
): Configuration {
  return {
    ...configuration,
    actors: (prepared) =>
      configuration
        .actors(prepared)
        .map((program) =>
          roles.includes(program.role)
            ? { ...program, run: (ports: Ports) => program.run(bend(ports, prepared.shard)) }
            : program,
        ),
  };
}

/** The pointer is put over whatever lies there. */
export const flipOverAnything: Bend = (ports, shard) => ({
  ...ports,
  objects: {
    ...ports.objects,
    put: async (key, source, options): Promise<PutOutcome> => {
      if (key !== pointerKey(shard)) return ports.objects.put(key, source, options);
      const found = await ports.objects.get(key, { bytesMax: 1e6 });
      const condition = found.outcome === "found" ? { ifMatch: found.etag } : options.condition;
      return ports.objects.put(key, source, { ...options, condition });
    },
  },
});

/** The collector believes that a run id is abandoned, but nobody noted it. */
export const abandonNothing: Bend = (ports) => ({
  ...ports,
  log: { ...ports.log, abandonRun: async () => "abandoned" as const },
});

/** A rollback believes that its target is pinned. */
export const pinNothing: Bend = (ports) => ({
  ...ports,
  log: { ...ports.log, pinVersion: async () => ({ outcome: "pinned" }) as const },
});

/** An exclusion is not announced to those who delete by a filter. */
export const announceNothing: Bend = (ports) => {
  let announced: string | undefined;
  return {
    ...ports,
    log: {
      ...ports.log,
      announceExclusion: async (_shard, commitId) => {
        announced = commitId;
      },
      readHead: async (shard) => {
        const head = await ports.log.readHead(shard);
        return head && announced !== undefined ? { ...head, excluding: announced } : head;
      },
      resolveExclusion: async () => {},
    },
  };
};

/** Nobody is told of what was left when the lease is released. */
export const hintNothing: Bend = (ports) => ({
  ...ports,
  hints: { ...ports.hints, send: async () => {} },
});
