import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { expectPictures } from "../picture-check.ts";
import { expectThat, type Role, type RoleContext } from "../role-context.ts";
import { pictureNames, slotFolder, type World } from "../world.ts";

const NAMES = 20;
const CHANGES_MAX = 6;
const DELETE_CHANCE = 0.25;

/** The folder that this slot ingests. */
export function ingestedFolder(world: World, slot: string): string {
  const folder = join(slotFolder(world, slot), "ingested");
  mkdirSync(folder, { recursive: true });
  return folder;
}

const notesPath = (world: World, slot: string) => join(slotFolder(world, slot), "ingests");

/** Changes some pictures of a folder and ingests it. What an ingest has acknowledged stays as it is. */
export const ingestRole: Role = async (context) => {
  const { world, slot, store, say, phases } = context;
  const folder = ingestedFolder(world, slot);
  const notes = notesPath(world, slot);
  if (existsSync(notes) && readFileSync(notes, "utf8").endsWith("acknowledged\n")) {
    await expectPictures(store, world, folder);
    say({ did: "acknowledged ingest read again" });
  }
  return async () => {
    appendFileSync(notes, "changing\n");
    changePictures(context, folder);
    phases.enter("ingest");
    const { failures } = await store.ingest([folder], {
      pipeline: "image",
      prune: true,
      pruneAnyway: true,
    });
    phases.leave("ingest");
    expectThat(failures.length === 0, () => `an ingest failed: ${JSON.stringify(failures)}`);
    appendFileSync(notes, "acknowledged\n");
    say({ did: "ingest" });
    await expectPictures(store, world, folder);
  };
};

/** A picture changes as files do that are saved well: whole, under its name. */
function changePictures({ world, slot, random }: RoleContext, folder: string): void {
  const pictures = pictureNames(world);
  for (let change = random.int(CHANGES_MAX); change >= 0; change--) {
    const path = join(folder, `${random.int(NAMES)}.png`);
    if (random.chance(DELETE_CHANCE)) {
      rmSync(path, { force: true });
      continue;
    }
    const copy = join(slotFolder(world, slot), "next.png");
    copyFileSync(join(world.pictures, random.pick(pictures)), copy);
    renameSync(copy, path);
  }
}
