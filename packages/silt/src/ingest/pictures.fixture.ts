/** What the tests of ingest share: a store, a folder beside it, and small pictures made by seed. */
import { copyFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { createSeededRandom } from "@silt/testkit";
import sharp from "sharp";
import type { StoredRecord } from "../collection.ts";
import type { Store } from "../store.ts";

const EXAMPLES = join(import.meta.dirname, "../../../../examples/images");
const SIDE = 24;

export interface PictureFolder extends Disposable {
  /** Real. */
  readonly path: string;
  pathOf(name: string): string;
  uriOf(name: string): string;
  /** Writes a picture that depends on the seed alone. */
  paint(name: string, seed: number): Promise<void>;
  /** Copies one of `examples/images`. */
  example(name: string, as?: string): void;
}

export function pictureFolder(): PictureFolder {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "silt-pictures-")));
  const pathOf = (name: string) => {
    const full = join(path, name);
    mkdirSync(dirname(full), { recursive: true });
    return full;
  };
  return {
    path,
    pathOf,
    uriOf: (name) => pathToFileURL(join(path, name)).href,
    async paint(name, seed) {
      const random = createSeededRandom(seed);
      const pixels = Buffer.from(random.bytes(SIDE * SIDE * 3));
      await sharp(pixels, { raw: { width: SIDE, height: SIDE, channels: 3 } }).toFile(pathOf(name));
    },
    example: (name, as = name) => copyFileSync(join(EXAMPLES, name), pathOf(as)),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** All records of a collection that a fresh read sees, by id. */
export async function recordsOf(store: Store, name: string): Promise<readonly StoredRecord[]> {
  const collection = await store.collection(name);
  const { records } = await collection.get({ fresh: true, embeddings: true, limit: 100_000 });
  return records.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

export async function idsOf(store: Store, name: string): Promise<readonly string[]> {
  return (await recordsOf(store, name)).map(({ id }) => id);
}
