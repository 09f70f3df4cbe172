/**
 * A store that belongs to somebody else, who lets others read it: reads answer right or say why they
 * cannot, writes say that they may not, and not a byte, a time or a mode changes.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createSeededRandom } from "@silt/testkit";
import { compactAll } from "./check-store.ts";
import { perform, randomOperation } from "./operation.ts";
import { runSilt, type SiltRun } from "./run-silt.ts";
import { AS_NOBODY, canBeNobody, fingerprint, letPass, openToAll } from "./somebody-else.ts";
import { createWorld, openWorldStore, type World } from "./world.ts";

const WRITES = 12;

/** What is asked as nobody. Of a read the answer is known: it is that of the owner. */
const READS: readonly (readonly string[])[] = [
  ["get", "whole", "--fresh", "--json"],
  ["query", "whole", "--vector", "-", "--json"],
  ["status", "--json"],
  ["verify", "--json"],
  ["export", "whole", "--jsonl", "-"],
];

const CHANGES: readonly Asked[] = [
  { args: ["put", "whole", "--json"], input: '{"id": "x", "embedding": [1, 2, 3, 4]}' },
  { args: ["delete", "whole", "--where", '{"slot": "write-0"}', "--json"] },
  { args: ["compact", "--json"] },
  { args: ["gc", "--delete", "--json"] },
  { args: ["init", "more", "--dimension", "2", "--json"] },
  { args: ["rollback", "whole", "0", "--json"] },
];

export interface ReadOnlyReport {
  /** What the owner was told, and what nobody was told while the owner had the store open. */
  readonly reads: readonly { readonly owner: SiltRun; readonly nobody: SiltRun }[];
  readonly changes: readonly SiltRun[];
  /** Reads and changes while nobody has it open: then the log cannot be opened read-only. */
  readonly alone: readonly SiltRun[];
  /** What differs in the store afterwards: nothing. */
  readonly changed: readonly string[];
}

/** Undefined where this process may not become somebody else. */
export async function runReadOnly(root: string): Promise<ReadOnlyReport | undefined> {
  if (!canBeNobody()) return undefined;
  letPass(root);
  const world = await createWorld(root, []);
  await fill(world);
  const cacheFolder = join(root, "cache-of-nobody");
  for (const folder of [cacheFolder, world.temporary]) {
    mkdirSync(folder, { recursive: true });
    openToAll(folder);
  }
  const asNobody = ({ args, input }: Asked) =>
    runSilt(world, args, { wrapper: AS_NOBODY, cacheFolder, input: input ?? "" });
  const asked = READS.map((args) => ({ args, input: VECTOR }));

  const owners = await inOrder(asked, ({ args, input }) => runSilt(world, args, { input }));
  const before = fingerprint(world.location);
  const alone = await inOrder([...asked.slice(0, 1), ...CHANGES.slice(0, 1)], asNobody);
  const changed = changesSince(before, world);

  await using _open = await openWorldStore(world, { create: false });
  const opened = fingerprint(world.location);
  const nobodies = await inOrder(asked, asNobody);
  const changes = await inOrder(CHANGES, asNobody);
  changed.push(...changesSince(opened, world));
  const reads = owners.map((owner, index) => ({ owner, nobody: nobodies[index] as SiltRun }));
  return { reads, changes, alone, changed };
}

const VECTOR = "[1, 2, 3, 4]";

interface Asked {
  readonly args: readonly string[];
  readonly input?: string;
}

async function inOrder<T, R>(items: readonly T[], action: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await action(item));
  return results;
}

function changesSince(before: readonly string[], world: World): string[] {
  const after = fingerprint(world.location);
  return [
    ...before.filter((line) => !after.includes(line)),
    ...after.filter((line) => !before.includes(line)),
  ];
}

/** Some records that are compacted, and some that are pending. */
async function fill(world: World): Promise<void> {
  const random = createSeededRandom(9);
  await using store = await openWorldStore(world, { create: false });
  const collection = await store.collection("whole");
  for (let turn = 1; turn <= WRITES; turn++) {
    await perform(collection, randomOperation(random, "write-0", turn, { deleteWhere: false }));
    if (turn === WRITES / 2) await compactAll(store);
  }
}
