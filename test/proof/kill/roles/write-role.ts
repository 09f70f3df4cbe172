import { perform, randomOperation } from "../operation.ts";
import { expectOwn, settleDoubt } from "../own-records.ts";
import { openRoleJournal, type Role } from "../role-context.ts";
import { COLLECTION_NAMES } from "../world.ts";

const LOOK_CHANCE = 0.15;

/** A writer whose every call is durable and registered when it resolves. */
export const writeRole: Role = async (context) => {
  const { store, slot, random, say } = context;
  const journal = openRoleJournal(context);
  await settleDoubt(context, journal);
  return async () => {
    // A call that failed before may have been registered all the same.
    await settleDoubt(context, journal);
    const name = random.pick(COLLECTION_NAMES);
    const collection = await store.collection(name);
    const does = randomOperation(random, slot, journal.model.last + 1, { deleteWhere: true });
    const number = journal.intend(name, does);
    await perform(collection, does);
    journal.append({ ack: number, visible: true });
    say({ did: does.kind });
    if (random.chance(LOOK_CHANCE)) await expectOwn(context, journal, name);
  };
};
