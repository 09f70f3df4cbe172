/** Where the kill tests take place: one store, its readers' cache, and a folder for each slot. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Policy, updatePolicy } from "@silt/core";
import { createSeededRandom } from "@silt/testkit";
import sharp from "sharp";
import { openStore, type Store, type StoredRecord } from "../../../packages/silt/src/index.ts";
import { DIMENSION } from "./operation.ts";
import { hashOfFile, pictureRecords, textOfEmbedding } from "./picture-check.ts";
import { journalPath } from "./role-journal.ts";

/** All of it, but a store on AWS, below one folder, so that a process needs to be told only that. */
export interface World {
  readonly root: string;
  /** A folder below the root, or what the file `location` there says. */
  readonly location: string;
  readonly cacheFolder: string;
  /** What processes leave in the system's temporary folder shows here. */
  readonly temporary: string;
  /** Where those who have a store on AWS open work. */
  readonly awsWork: string;
  /** Small pictures that the ingested folders are filled from. */
  readonly pictures: string;
}

export function worldAt(root: string): World {
  const temporary = join(root, "tmp");
  return {
    root,
    location: existsSync(locationPath(root))
      ? readFileSync(locationPath(root), "utf8")
      : join(root, "store"),
    cacheFolder: join(root, "cache"),
    temporary,
    awsWork: join(temporary, `silt-${userInfo().uid}`),
    pictures: join(root, "pictures"),
  };
}

const locationPath = (root: string) => join(root, "location");

export const isOnAws = ({ location }: World): boolean => location.startsWith("s3://");

/** Of one slot: its journal, and what it works on. */
export const slotFolder = (world: World, slot: string) => join(world.root, "slots", slot);
export const phasePath = (world: World, slot: string) => join(slotFolder(world, slot), "phase");
/** The journal of a buffered writer, which is a part of what is tested. */
export const writerJournal = (world: World, slot: string) =>
  join(slotFolder(world, slot), "writer");

/** The collections that writers share, and how they differ. */
export const COLLECTIONS = {
  /** Two shards. */
  pair: { shards: 2, strategy: "tiered" },
  /** Segments pile up. */
  tiers: { shards: 1, strategy: "tiered" },
  /** Always one segment. */
  whole: { shards: 1, strategy: "single" },
} as const satisfies Readonly<Record<string, { shards: number; strategy: string }>>;
export const COLLECTION_NAMES = Object.keys(COLLECTIONS) as (keyof typeof COLLECTIONS)[];
/** Only one slot writes to it, and rolls it back. */
export const PAST_COLLECTION = "past";
export const SHARDS: Readonly<Record<string, number>> = Object.fromEntries(
  COLLECTION_NAMES.map((name) => [name, COLLECTIONS[name].shards]),
);

const PICTURES = 24;
const PICTURE_SIDE = 16;

/** A killed compactor is replaced soon, a stopped one loses its lease, and segments pile up. */
export function hasty(policy: Policy): Policy {
  return {
    ...policy,
    lease: { ttlMs: 400, heartbeatMs: 100, skewMs: 50 },
    compaction: { ...policy.compaction, smallBytes: 0, fanOut: 2, segmentsMax: 8, runsMax: 50 },
    retention: { versionsKept: 2, versionsKeptMs: 500, deltasKeptMs: 500, graceMs: 300 },
  };
}

/** Makes folders, store, collections and pictures; the store in a folder of the root, or at the location. */
export async function createWorld(
  root: string,
  slots: readonly string[],
  location?: string,
): Promise<World> {
  if (location !== undefined) writeFileSync(locationPath(root), location);
  const world = worldAt(root);
  for (const folder of [world.temporary, world.pictures]) mkdirSync(folder, { recursive: true });
  for (const slot of slots) mkdirSync(slotFolder(world, slot), { recursive: true });
  await using store = await openWorldStore(world, { create: true });
  for (const name of COLLECTION_NAMES) {
    const { shards, strategy } = COLLECTIONS[name];
    await store.collection(name, { dimension: DIMENSION, shards, policy: strategy });
    await updatePolicy(store.context.ports, name, hasty);
  }
  await store.collection(PAST_COLLECTION, { dimension: DIMENSION });
  await updatePolicy(store.context.ports, PAST_COLLECTION, hasty);
  await paintPictures(world);
  await ingestPictures(store, world);
  for (const slot of slots) {
    const base = Object.fromEntries(COLLECTION_NAMES.map((name) => [name, []]));
    const line = { base, shards: SHARDS, operation: 0 };
    writeFileSync(journalPath(slotFolder(world, slot), 0), `${JSON.stringify(line)}\n`);
  }
  writeEpoch(world, 0);
  return world;
}

export function openWorldStore(
  { location, cacheFolder, awsWork }: World,
  options: { readonly create: boolean; readonly cacheFolder?: string },
): Promise<Store> {
  return openStore(location, { cacheFolder, tempFolder: awsWork, ...options });
}

async function paintPictures(world: World): Promise<void> {
  const random = createSeededRandom(5);
  for (let index = 0; index < PICTURES; index++) {
    const pixels = Buffer.from(random.bytes(PICTURE_SIDE * PICTURE_SIDE * 3));
    const raw = { width: PICTURE_SIDE, height: PICTURE_SIDE, channels: 3 } as const;
    await sharp(pixels, { raw }).toFile(join(world.pictures, `${index}.png`));
  }
}

/** Once for all: they stay, and tell what any copy of them must become. */
async function ingestPictures(store: Store, world: World): Promise<void> {
  await store.ingest([world.pictures], { pipeline: "image" });
  await updatePolicy(store.context.ports, "images", hasty);
  const found = await pictureRecords(store, world.pictures);
  const expected = [...found].map(([uri, records]) => [
    hashOfFile(fileURLToPath(uri)),
    textOfEmbedding(records[0] as StoredRecord),
  ]);
  writeFileSync(expectedPath(world), JSON.stringify(Object.fromEntries(expected)));
}

export const expectedPath = (world: World) => join(world.root, "pictures.json");

export const pictureNames = (world: World): readonly string[] =>
  existsSync(world.pictures) ? readdirSync(world.pictures) : [];

const epochPath = (world: World) => join(world.root, "epoch");

/** Each checkpoint begins an epoch, and with it new journals. */
export function readEpoch(world: World): number {
  return Number(readFileSync(epochPath(world), "utf8"));
}

export function writeEpoch(world: World, epoch: number): void {
  writeFileSync(`${epochPath(world)}.new`, String(epoch));
  renameSync(`${epochPath(world)}.new`, epochPath(world));
}
