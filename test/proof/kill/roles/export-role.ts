import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { StoredRecord } from "../../../../packages/silt/src/index.ts";
import type { Role } from "../role-context.ts";
import { writingSlots } from "../slots.ts";
import { SnapshotCheck } from "../snapshot-check.ts";
import { COLLECTION_NAMES, slotFolder } from "../world.ts";

/** Exports a collection; the file is whole, and a state that it was in. */
export const exportRole: Role = async ({ world, slot, store, random, phases, say }) => {
  const check = new SnapshotCheck(world, writingSlots());
  return async () => {
    const name = random.pick(COLLECTION_NAMES);
    const file = join(slotFolder(world, slot), `${name}.export`);
    rmSync(file, { force: true });
    const oldest = check.begin(name, false);
    phases.enter("export");
    if (random.chance(0.5)) {
      await store.export(name, { sqlite: file });
    } else {
      await store.export(name, { jsonl: file });
      check.check(name, false, recordsIn(file), oldest);
    }
    phases.leave("export");
    say({ did: "export" });
  };
};

function recordsIn(file: string): readonly StoredRecord[] {
  const lines = readFileSync(file, "utf8").split("\n");
  return lines
    .filter((line) => line !== "")
    .map((line) => {
      const { id, parent = null, document = null, metadata = {}, embedding } = JSON.parse(line);
      return { id, parent, document, metadata, embedding: Float32Array.from(embedding) };
    });
}
