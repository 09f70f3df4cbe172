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
  ["get", "whole", "--json"],
  ["get", "whole", "--fresh", "--json"],
  ["query", "whole", "--vector", "-", "--json"],
  ["status", "--json"],
  ["versions", "--json"],
  ["verify", "--json"],
  ["export", "whole", "--jsonl", "-"],
];

const CHANGES: readonly { readonly args: readonly string[]; readonly input?: string }[] = [
  { args: ["put", "whole", "--json"], input: '{"id": "x", "embedding": [1, 2, 3, 4]}' },
  { args: ["patch", "whole", "--json"], input: '{"id": "x", "document": "y"}' },
  { args: ["delete", "whole", "--id", "x", "--json"] },
  { args: ["delete", "whole", "--where", '{"slot": "write-0"}', "--json"] },
  { args: ["compact", "--json"] },
  { args: ["gc", "--delete", "--json"] },
  { args: ["init", "more", "--dimension", "2", "--json"] },
  { args: ["pin", "whole", "0", "--json"] },
  { args: ["rollback", "whole", "0", "--yes", "--json"] },
];

export interface ReadOnlyReport {
  readonly reads: readonly { readonly owner: SiltRun; readonly nobody: SiltRun }[];
  readonly changes: readonly SiltRun[];
  /** What differs in the store afterwards: nothing. */
  readonly changed: readonly string[];
}

/** The same while its owner has the store open, and while nobody has. Undefined where one cannot be nobody. */
export async function runReadOnly(
  root: string,
  options: { readonly ownerHasItOpen: boolean },
): Promise<ReadOnlyReport | undefined> {
  if (!canBeNobody()) return undefined;
  letPass(root);
  const world = await createWorld(root, []);
  await fill(world);
  const cacheFolder = join(root, "cache-of-nobody");
  mkdirSync(cacheFolder);
  mkdirSync(join(root, "compiled"), { recursive: true });
  openToAll(cacheFolder);
  openToAll(world.temporary);
  openToAll(join(root, "compiled"));
  const asNobody = (args: readonly string[], input?: string) =>
    runSilt(world, args, { wrapper: AS_NOBODY, cacheFolder, ...(input && { input }) });
  const vector = "[1, 2, 3, 4]";

  const owners: SiltRun[] = [];
  for (const args of READS) owners.push(await runSilt(world, args, { input: vector }));
  await using stack = new AsyncDisposableStack();
  if (options.ownerHasItOpen) stack.use(await openWorldStore(world, { create: false }));
  const before = fingerprint(world.location);
  const reads: { owner: SiltRun; nobody: SiltRun }[] = [];
  for (const owner of owners) reads.push({ owner, nobody: await asNobody(owner.args, vector) });
  const changes: SiltRun[] = [];
  for (const { args, input } of CHANGES) changes.push(await asNobody(args, input));
  const after = fingerprint(world.location);
  const changed = [
    ...before.filter((line) => !after.includes(line)),
    ...after.filter((line) => !before.includes(line)),
  ];
  return { reads, changes, changed };
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
