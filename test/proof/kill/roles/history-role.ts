import { join } from "node:path";
import { isSiltError, type KnownVersion, readHistory } from "@silt/core";
import { HistoryModel } from "../history-model.ts";
import { perform, randomOperation } from "../operation.ts";
import { expectPast, expectVersion, openPast, PIN_OWNER, settleDeed } from "../past-shard.ts";
import type { Role, RoleContext } from "../role-context.ts";
import { PAST_COLLECTION, slotFolder } from "../world.ts";

const LOOK_CHANCE = 0.2;
const PINNED_MAX = 3;

export const historyPath = (world: RoleContext["world"], slot: string) =>
  join(slotFolder(world, slot), "history.jsonl");

/** The one writer of a collection: it writes, compacts, holds old versions, and rolls back. */
export const historyRole: Role = async (context) => {
  const { world, slot, store, random, say } = context;
  const model = new HistoryModel(historyPath(world, slot));
  const settle = async () => {
    const done = await settleDeed(store.context.ports, model);
    if (done !== undefined) say({ did: done ? "cut off, applied" : "cut off, not applied" });
  };
  await settle();
  await expectPast(store, model);
  return async () => {
    await settle();
    const chance = random.fraction();
    if (chance < 0.6) await write(context, model);
    else if (chance < 0.75) await (await store.collection(PAST_COLLECTION)).compact();
    else if (chance < 0.87) await rollback(context, model);
    else await holdOrLetGo(context, model);
    if (!random.chance(LOOK_CHANCE)) return;
    await expectPast(store, model);
    if (await expectVersion(store, model, random)) say({ did: "old version read" });
  };
};

async function write(context: RoleContext, model: HistoryModel): Promise<void> {
  const { slot, random, store, say } = context;
  const sequence = model.sequence + 1;
  const operation = randomOperation(random, slot, sequence, { deleteWhere: false });
  model.append({ write: operation, sequence });
  await perform(await store.collection(PAST_COLLECTION), operation);
  model.append({ done: true });
  say({ did: `past ${operation.kind}` });
}

async function rollback(context: RoleContext, model: HistoryModel): Promise<void> {
  const { random, store, say, slot } = context;
  const { ports } = store.context;
  const { shard } = await openPast(ports);
  const [current, ...older] = (await readHistory(ports, shard)).versions;
  if (current === undefined || older.length === 0) return;
  const target: KnownVersion = random.pick(older);
  const token = `${slot}-${model.sequence}-${random.int(2 ** 31)}`;
  const from = target.manifest.appliedThrough + 1;
  model.append({ rollback: token, range: { from, to: current.manifest.appliedThrough } });
  try {
    const report = await store.rollback(PAST_COLLECTION, target.ref.version, {
      baseVersion: current.ref.version,
      reason: token,
    });
    model.append({ done: report.outcome === "rolled-back" });
    say({ did: `rollback: ${report.outcome}` });
  } catch (error) {
    // A target may hold what was rolled back since, or be collected by now.
    if (!isSiltError(error, "invalid")) throw error;
    model.append({ done: false });
    say({ did: "rollback: refused" });
  }
}

async function holdOrLetGo(context: RoleContext, model: HistoryModel): Promise<void> {
  const { random, store, say } = context;
  const { ports } = store.context;
  const { shard } = await openPast(ports);
  if (model.pinned.size >= PINNED_MAX) {
    const version = random.pick([...model.pinned]);
    model.append({ unpin: version });
    await store.unpin(PAST_COLLECTION, version, { owner: PIN_OWNER });
    model.append({ done: true });
    say({ did: "unpin" });
    return;
  }
  const { versions } = await readHistory(ports, shard);
  const { version } = random.pick(versions).ref;
  model.append({ pin: version });
  try {
    await store.pin(PAST_COLLECTION, version, { owner: PIN_OWNER, reason: "it is tested" });
    model.append({ done: true });
    say({ did: "pin" });
  } catch (error) {
    // The collector may have taken it meanwhile.
    if (!isSiltError(error, "invalid")) throw error;
    model.append({ done: false });
    say({ did: "pin refused" });
  }
}
