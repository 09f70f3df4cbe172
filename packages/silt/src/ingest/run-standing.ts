import {
  type Exclusion,
  findManifest,
  type Guard,
  openCollection,
  type Ports,
  readPointer,
  type ShardRef,
  SiltError,
  shardPartition,
} from "@silt/core";

/** A run as a guard names it. */
export type GuardRun = Guard["runs"][number];

export type RunStanding =
  | { readonly standing: "applied" | "pending" }
  /** Snapshots leave it out. */
  | { readonly standing: "excluded"; readonly reason: string }
  /** The collection was deleted, and maybe made anew. */
  | { readonly standing: "gone" };

/** Where the runs of guards stand, with what was read remembered until `forget()`. */
export interface RunStandings {
  of(run: GuardRun): Promise<RunStanding>;
  /** True when nothing that the guard registered was left out since. */
  allStand(guard: Guard): Promise<boolean>;
  forget(): void;
}

interface ShardFacts {
  readonly appliedThrough: number;
  readonly exclusions: readonly Exclusion[];
}

/** A version can be collected between reading its pointer and its manifest. */
const MANIFEST_ATTEMPTS_MAX = 3;

export function createRunStandings(ports: Ports): RunStandings {
  const known = new Map<string, Promise<ShardFacts | undefined>>();
  const factsOf = (shard: ShardRef) => {
    const key = shardPartition(shard);
    const facts = known.get(key) ?? readFacts(ports, shard);
    known.set(key, facts);
    return facts;
  };
  const of = async (run: GuardRun): Promise<RunStanding> => judge(run, await factsOf(run));
  return {
    of,
    async allStand(guard) {
      for (const run of guard.runs) {
        const { standing } = await of(run);
        if (standing === "excluded" || standing === "gone") return false;
      }
      return true;
    },
    forget: () => known.clear(),
  };
}

function judge({ sequence }: GuardRun, facts: ShardFacts | undefined): RunStanding {
  if (facts === undefined) return { standing: "gone" };
  const exclusion = facts.exclusions.find(
    ({ from, to, retriedBy }) => retriedBy === null && from <= sequence && sequence <= to,
  );
  if (exclusion !== undefined) return { standing: "excluded", reason: exclusion.reason };
  return { standing: sequence <= facts.appliedThrough ? "applied" : "pending" };
}

async function readFacts(ports: Ports, shard: ShardRef): Promise<ShardFacts | undefined> {
  const opened = await openCollection(ports, shard.collection);
  if (opened?.identity.storeId !== shard.storeId) return undefined;
  for (let attempt = 1; attempt <= MANIFEST_ATTEMPTS_MAX; attempt++) {
    const { pointer } = await readPointer(ports.objects, shard);
    const manifest = await findManifest(ports.objects, pointer);
    if (manifest === undefined) continue;
    return { appliedThrough: pointer.appliedThrough, exclusions: manifest.excluded };
  }
  throw new SiltError(
    "corrupt",
    `Cannot read the manifest of "${shardPartition(shard)}": the pointer names one that is gone; run "silt verify"`,
  );
}
