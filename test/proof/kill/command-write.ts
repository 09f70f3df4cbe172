/** A writer that is the command: `silt put`, `patch` and `delete`, killed in the middle; 0 means it is done. */
import type { SeededRandom } from "@silt/testkit";
import type { Store } from "../../../packages/silt/src/index.ts";
import { Life, type LifeReport } from "./life.ts";
import { inputOf, type Operation, randomOperation } from "./operation.ts";
import { settleDoubt } from "./own-records.ts";
import { journalPath, RoleJournal } from "./role-journal.ts";
import type { Slot } from "./slots.ts";
import { COLLECTION_NAMES, openWorldStore, readEpoch, slotFolder, type World } from "./world.ts";

const LIVES_ON_CHANCE = 0.35;
const MS_MAX = 1_200;
/** Longer than any command takes. */
const LONG_MS = 60_000;

/** One command: what it was about to do is noted before, that it is done after it said so. */
export async function runCommandWrite(
  world: World,
  slot: Slot,
  random: SeededRandom,
): Promise<LifeReport> {
  using journal = new RoleJournal(journalPath(slotFolder(world, slot.name), readEpoch(world)));
  const settled = await settle(world, slot, journal);
  const collection = random.pick(COLLECTION_NAMES);
  const turn = journal.model.last + 1;
  const does = withoutRepeats(randomOperation(random, slot.name, turn, { deleteWhere: true }));
  journal.intend(collection, does);
  const ms = random.chance(LIVES_ON_CHANCE) ? LONG_MS : random.int(MS_MAX);
  const { args, input } = commandOf(collection, does);
  const plan = { slot: { ...slot, args }, seed: 0, ending: { kind: "timer", ms } } as const;
  const report = await new Life(world, plan, { input }).ended;
  if (report.did.get("exit code 0") === 1) journal.append({ ack: turn, visible: true });
  const did = new Map([...report.did, ...settled.map((what) => [what, 1] as const)]);
  return { ...report, did };
}

/** What became of a command that was killed before. */
async function settle(world: World, slot: Slot, journal: RoleJournal): Promise<readonly string[]> {
  if (journal.model.doubt === undefined) return [];
  const said: string[] = [];
  await using store: Store = await openWorldStore(world, { create: false });
  await settleDoubt(
    { store, slot: slot.name, say: (event) => "did" in event && said.push(event.did) },
    journal,
  );
  return said;
}

/** The command refuses an id that comes twice with different content. */
function withoutRepeats(operation: Operation): Operation {
  if (operation.kind !== "patch") return operation;
  const byId = new Map(operation.patches.map((patch) => [patch.id, patch]));
  return { kind: "patch", patches: [...byId.values()] };
}

function commandOf(
  collection: string,
  operation: Operation,
): { readonly args: readonly string[]; readonly input: string } {
  const lines = (records: readonly object[]) =>
    records.map((record) => JSON.stringify(record)).join("\n");
  const from = (...args: string[]) => ({ args: ["delete", collection, ...args], input: "" });
  switch (operation.kind) {
    case "put":
      return { args: ["put", collection], input: lines(operation.records.map(inputOf)) };
    case "replace":
      // Without records there is nothing that could name the parent.
      return operation.records.length === 0
        ? from("--parent", operation.parent)
        : {
            args: ["put", collection, "--replace"],
            input: lines(operation.records.map(inputOf)),
          };
    case "patch":
      return { args: ["patch", collection], input: lines(operation.patches) };
    case "delete-ids":
      return from(...operation.ids.flatMap((id) => ["--id", id]));
    case "delete-parent":
      return from("--parent", operation.parent);
    case "delete-where":
      return from("--where", JSON.stringify({ slot: operation.slot, group: operation.group }));
  }
}
