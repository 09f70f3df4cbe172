/** Whether the records of ingested pictures are those of the files. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Store, StoredRecord } from "../../../packages/silt/src/index.ts";
import { expectThat } from "./role-context.ts";
import { expectedPath, type World } from "./world.ts";

/** What `images` has of pictures in a folder: by URI of the picture. */
export async function pictureRecords(
  store: Store,
  folder: string,
): Promise<ReadonlyMap<string, readonly StoredRecord[]>> {
  const images = await store.collection("images");
  const prefix = `${pathToFileURL(realpathSync(folder)).href}/`;
  const { records } = await images.get({ fresh: true, embeddings: true });
  return Map.groupBy(
    records.filter(({ parent }) => parent?.startsWith(prefix)),
    ({ parent }) => String(parent),
  );
}

export const hashOfFile = (path: string) =>
  createHash("sha256").update(readFileSync(path)).digest("hex");

export const textOfEmbedding = (record: StoredRecord) => [...(record.embedding ?? [])].join();

/** The embedding of each painted picture by the hash of its file, as a first ingest has made them. */
function readExpected(world: World): Readonly<Record<string, string>> {
  return JSON.parse(readFileSync(expectedPath(world), "utf8"));
}

/** Throws unless `images` has exactly one record of each picture of the folder, with its embedding. */
export async function expectPictures(store: Store, world: World, folder: string): Promise<void> {
  const expected = readExpected(world);
  const found = await pictureRecords(store, folder);
  const names = readdirSync(folder);
  const uris = names.map((name) => pathToFileURL(join(realpathSync(folder), name)).href);
  const strangers = [...found.keys()].filter((uri) => !uris.includes(uri));
  expectThat(
    strangers.length === 0,
    () => `images has records of pictures that are gone: ${strangers}`,
  );
  for (const [index, name] of names.entries()) {
    const uri = uris[index] as string;
    const records = found.get(uri) ?? [];
    expectThat(
      records.length === 1,
      () => `images has ${records.length} records of ${uri}, expected 1`,
    );
    const embedding = expected[hashOfFile(join(folder, name))];
    expectThat(
      textOfEmbedding(records[0] as StoredRecord) === embedding,
      () => `images has another embedding of ${uri} than its content gives`,
    );
  }
}
