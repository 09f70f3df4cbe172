/** Real ingests of one folder, killed with SIGKILL at seeded moments, then finished. */
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import { createSeededRandom } from "@silt/testkit";
import sharp from "sharp";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openStore, type Store, type StoredRecord } from "../../packages/silt/src/index.ts";

const PROCESS = fileURLToPath(new URL("./ingest-process.ts", import.meta.url));
const EXAMPLES = fileURLToPath(new URL("../../examples/images", import.meta.url));
const COLLECTIONS = ["lines", "words", "images"] as const;
/** Making a collection takes 8 moments. */
const CREATION_MOMENTS_MAX = 26;
/** Of a first batch of four pictures; its put objects are three bundles. */
const EXTRACTED_MAX = 3;
const PUT_MOMENTS_MAX = 6;
/** The second moment of a registration: it is durable, and nobody has been told. */
const REGISTERED_UNTOLD = 2;
const TIMEOUT_MS = 120_000;

interface Line {
  readonly extracted?: string;
  readonly acknowledged?: string;
  readonly finished?: { readonly total: number; readonly failures: readonly { source: string }[] };
}

let folder: string;
let pictures: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "silt-kill-ingest-"));
  pictures = join(folder, "pictures");
  mkdirSync(pictures);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const cacheFolder = () => join(folder, "cache");
const open = (name: string) => openStore(join(folder, name), { cacheFolder: cacheFolder() });

function copyExamples(names: readonly string[]): void {
  for (const name of names) cpSync(join(EXAMPLES, name), join(pictures, name));
}

async function makePictures(count: number): Promise<void> {
  const random = createSeededRandom(7);
  for (let index = 0; index < count; index++) {
    const background = { r: random.int(256), g: random.int(256), b: random.int(256) };
    const image = sharp({ create: { width: 32, height: 32, channels: 3, background } });
    await image.png().toFile(join(pictures, `${String(index).padStart(3, "0")}.png`));
  }
}

/** One life of an ingest; what it said, and whether it was killed. */
function ingest(store: string, pipeline: string, moment = "none", nth = 0) {
  const args = [join(folder, store), cacheFolder(), pictures, pipeline, moment, String(nth)];
  const child = spawn(process.execPath, [PROCESS, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines: Line[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(JSON.parse(line)));
  return new Promise<{ readonly lines: readonly Line[]; readonly killed: boolean }>(
    (resolve, reject) => {
      child.on("error", reject).on("close", (code, signal) => {
        if (signal === "SIGKILL") resolve({ lines, killed: true });
        else if (code === 0) resolve({ lines, killed: false });
        else reject(new Error(`the ingest ended with code ${code}`));
      });
    },
  );
}

const saidOf = (lines: readonly Line[], what: "extracted" | "acknowledged") =>
  lines.flatMap((line) => line[what] ?? []);

type Contents = Readonly<Record<string, readonly StoredRecord[]>>;

async function contentsOf(store: Store): Promise<Contents> {
  const names = await store.collections();
  const contents: Record<string, readonly StoredRecord[]> = {};
  for (const name of COLLECTIONS.filter((each) => names.includes(each))) {
    const collection = await store.collection(name);
    const answer = await collection.get({ fresh: true, embeddings: true });
    contents[name] = answer.records;
  }
  return contents;
}

const parentsOf = (records: readonly StoredRecord[] = []) =>
  [...new Set(records.map(({ parent }) => parent ?? ""))].toSorted();

/** What was registered before must not have been extracted in this life. */
function expectNotAgain(lines: readonly Line[], registered: readonly string[]): void {
  const again = saidOf(lines, "extracted").filter((source) => registered.includes(source));
  expect(again).toEqual([]);
}

/** Lines, words and image of a picture are there together, or not at all. Gives the pictures. */
function expectWholePictures({ lines, words, images }: Contents): readonly string[] {
  const all = parentsOf(images);
  const withText = all.filter((source) => !source.includes("photo"));
  expect(parentsOf(lines)).toEqual(withText);
  expect(parentsOf(words)).toEqual(withText);
  return all;
}

it("F60 F63 F66 an ingest killed at any moment ends with the records of an unbroken one, and extracts nothing again that was acknowledged", {
  timeout: TIMEOUT_MS,
}, async () => {
  const random = createSeededRandom(3);
  const dieAnywhere = () => ingest("killed", "auto", "any", 1 + random.int(CREATION_MOMENTS_MAX));
  for (let kills = 0; (await dieAnywhere()).killed; kills++) {
    expect(kills, "the collections are made at last").toBeLessThan(20);
  }
  let registered: readonly string[] = [];
  const dieAt = async (moment: string, nth: number) => {
    const { lines, killed } = await ingest("killed", "auto", moment, nth);
    expect(killed, `${moment} ${nth}`).toBe(true);
    expectNotAgain(lines, registered);
    await using store = await open("killed");
    registered = expectWholePictures(await contentsOf(store));
    // A kill can come between a registration and the word of it, never the other way round.
    expect(registered).toEqual(expect.arrayContaining(saidOf(lines, "acknowledged")));
  };
  copyExamples(["photo-alps.jpg", "photo-boats.jpg", "page-timetable.png"]);
  copyExamples(["receipt-kino-cafe.png", "receipt-kino-cafe.png.json"]);
  await dieAt("extracted", 1 + random.int(EXTRACTED_MAX));
  await dieAt("put", 1 + random.int(PUT_MOMENTS_MAX));
  await dieAt("commit", REGISTERED_UNTOLD);
  copyExamples(["page-opening-hours.png"]);
  await dieAt("acknowledged", 1);
  expect(registered.length).toBeGreaterThan(0);

  copyExamples(["page-lost-cat.png"]);
  writeFileSync(join(pictures, "broken.png"), "no picture");
  const finished = await ingest("killed", "auto");
  expectNotAgain(finished.lines, registered);
  expect(saidOf(finished.lines, "extracted")).toHaveLength(6 - registered.length);

  const unbroken = await ingest("unbroken", "auto");
  expect(saidOf(unbroken.lines, "extracted")).toHaveLength(6);
  for (const { lines } of [finished, unbroken]) {
    const { total, failures } = lines.at(-1)?.finished ?? { failures: [] };
    expect(total).toBe(7);
    expect(failures.map(({ source }) => source)).toEqual([
      pathToFileURL(join(pictures, "broken.png")).href,
    ]);
  }
  await using killedStore = await open("killed");
  await using unbrokenStore = await open("unbroken");
  const expected = await contentsOf(unbrokenStore);
  expect(await contentsOf(killedStore)).toEqual(expected);
  expect(expected.lines?.length).toBeGreaterThan(20);
  await killedStore.compact();
  expect(await contentsOf(killedStore)).toEqual(expected);
  expect((await killedStore.verify()).problems).toEqual([]);
});

it("F16 two ingests of one folder at once, both killed again and again, end with each picture once", {
  timeout: TIMEOUT_MS,
}, async () => {
  await makePictures(40);
  const keepAlive = async (seed: number) => {
    const random = createSeededRandom(seed);
    let kills = 0;
    for (;;) {
      expect(kills, "it ends").toBeLessThan(30);
      const { killed, lines } = await ingest("shared", "image", "any", 1 + random.int(40));
      if (!killed) return { kills, finished: lines.at(-1)?.finished };
      kills += 1;
    }
  };
  const [first, second] = await Promise.all([keepAlive(11), keepAlive(12)]);
  expect(first.kills + second.kills).toBeGreaterThan(3);
  expect([first.finished, second.finished]).toEqual(Array(2).fill({ total: 40, failures: [] }));

  await ingest("unbroken", "image");
  await using shared = await open("shared");
  await using unbroken = await open("unbroken");
  const expected = await contentsOf(unbroken);
  expect(expected.images).toHaveLength(40);
  expect(await contentsOf(shared)).toEqual(expected);
});
