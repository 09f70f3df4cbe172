import type { CollectionWriter } from "../../../../packages/silt/src/index.ts";
import { performBuffered, randomOperation } from "../operation.ts";
import { expectOwn, settleDoubt } from "../own-records.ts";
import { openRoleJournal, type Role, type RoleContext } from "../role-context.ts";
import type { RoleJournal } from "../role-journal.ts";
import { COLLECTION_NAMES, writerJournal } from "../world.ts";

const FLUSH_CHANCE = 0.1;
const LOOK_CHANCE = 0.5;

/** A buffered writer with a journal: a call is for ever when it resolves, and visible after a flush. */
export const bufferRole: Role = async (context) => {
  const { slot, random, say, phases } = context;
  const name = bufferedCollection(slot);
  const journal = openRoleJournal(context);
  let writer: CollectionWriter | undefined = await reopen(context, journal, name);
  return async () => {
    writer ??= await reopen(context, journal, name);
    const does = bufferable(
      randomOperation(random, slot, journal.model.last + 1, { deleteWhere: false }),
    );
    const number = journal.intend(name, does);
    try {
      phases.enter("take");
      await performBuffered(writer, does);
      phases.leave("take");
      journal.append({ ack: number, visible: false });
      say({ did: `buffered ${does.kind}` });
      if (!random.chance(FLUSH_CHANCE)) return;
      await writer.flush();
      journal.append({ registered: number });
      if (random.chance(LOOK_CHANCE)) await expectOwn(context, journal, name);
    } catch (error) {
      await giveUp(writer);
      writer = undefined;
      throw error;
    }
  };
};

/** One collection for each buffered writer. */
export function bufferedCollection(slot: string): string {
  const number = Number(/\d+$/.exec(slot)?.[0] ?? 0);
  return COLLECTION_NAMES[number % COLLECTION_NAMES.length] as string;
}

/** A writer deletes one id a call. */
function bufferable(operation: ReturnType<typeof randomOperation>) {
  return operation.kind === "delete-ids"
    ? { ...operation, ids: operation.ids.slice(0, 1) }
    : operation;
}

/** Opening replays what an earlier life left in the writer's journal; then nothing is in doubt. */
async function reopen(
  context: RoleContext,
  journal: RoleJournal,
  name: string,
): Promise<CollectionWriter> {
  const { store, world, slot, say } = context;
  const collection = await store.collection(name);
  let replayed = 0;
  const writer = await collection.writer({
    journal: writerJournal(world, slot),
    flushRecords: 25,
    flushMs: 250,
    onFlush: ({ runs }) => {
      replayed += runs.length;
      say({ did: "flush" });
    },
  });
  if (replayed > 0) say({ did: "writer's journal replayed" });
  try {
    await settleDoubt(context, journal);
    journal.append({ registered: journal.model.last });
    await expectOwn(context, journal, name);
  } catch (error) {
    await giveUp(writer);
    throw error;
  }
  return writer;
}

/** Its journal keeps what could not be flushed. */
async function giveUp(writer: CollectionWriter): Promise<void> {
  try {
    await writer[Symbol.asyncDispose]();
  } catch {
    // The failure that led here is told by the caller.
  }
}
