/** One large hostile input in a process of its own with a small heap: tells how it ended and its peak. */
import { createHash } from "node:crypto";
import { closeSync, copyFileSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createDeflate } from "node:zlib";
import { type DeltaManifest, encodeJson, SiltError } from "@silt/core";
import { prepareImage } from "@silt/embed";
import { runOf, tarEntry } from "../../../packages/segment/src/hostile-bundle.fixture.ts";
import { fileChunks, hashFile } from "../../../packages/segment/src/index.ts";
import { writeLines } from "../../../packages/silt/src/bulk-input.ts";
import { inspectTarget } from "../../../packages/silt/src/inspect-target.ts";
import { withSql } from "./forge-delta.ts";
import { type FuzzArena, openFuzzArena } from "./fuzz-arena.ts";
import { endingOf } from "./hostile-world.ts";
import { pngOf } from "./image-cases.ts";
import { peakBytes } from "./run-fuzz.ts";

const MEBIBYTE = 1024 * 1024;

type Scenario = (arena: FuzzArena) => Promise<unknown>;

async function* repeated(chunk: Uint8Array, times: number): AsyncGenerator<Uint8Array> {
  for (let left = times; left > 0; left--) yield chunk;
}

async function put({ world }: FuzzArena, input: AsyncIterable<Uint8Array>): Promise<unknown> {
  const inbox = await world.store.collection("inbox");
  return writeLines(world.store.context, inbox.identity, input, { operation: "put" });
}

function manyKeys(): Buffer {
  const keys = Array.from({ length: 700_000 }, (_, index) => `"${index.toString(36)}":1`);
  return Buffer.from(`{"id":"a","embedding":[1,0],"metadata":{${keys.join(",")}}}\n`);
}

/** A tar around a SQLite file of hundreds of megabytes, written and read as a stream. */
async function receiveHuge(arena: FuzzArena, bytes: number): Promise<never> {
  const { world, sound, workbench, owner, runId } = arena;
  const sqlite = join(world.inside, "huge.sqlite");
  const damage = `UPDATE rows SET embedding = zeroblob(${bytes}) WHERE operation = 'put'`;
  const opened = withSql(sound.sqlite, (db) => {
    db.exec(damage);
    copyFileSync(db.name, sqlite);
    db.exec("UPDATE rows SET embedding = NULL; VACUUM");
  });
  if (opened.byteLength > MEBIBYTE) throw new Error("the small file is large");
  const manifest: DeltaManifest = {
    ...sound.manifest,
    sqlite: { name: "delta.sqlite", ...hashFile(sqlite) },
  };
  const tar = join(world.inside, "huge.tar");
  const hash = createHash("sha256");
  const descriptor = openSync(tar, "w");
  let length = 0;
  const add = (chunk: Uint8Array) => {
    hash.update(chunk);
    length += writeSync(descriptor, chunk);
  };
  add(tarEntry({ name: "delta.json", body: encodeJson(manifest) }));
  add(tarEntry({ name: "delta.sqlite", size: manifest.sqlite.bytes }));
  for (const chunk of fileChunks(sqlite)) add(chunk);
  add(Buffer.alloc(1_024));
  closeSync(descriptor);
  rmSync(sqlite);
  const run = { ...runOf(Buffer.alloc(0), manifest), runId };
  const delta = { ...run.delta, bytes: length, sha256: hash.digest("hex") };
  const body = (async function* () {
    yield* fileChunks(tar);
  })();
  const received = await workbench.receiveDelta(owner, { ...run, delta }, body);
  if (received.outcome === "sound") throw new Error("it was taken");
  throw new SiltError("corrupt", `poison: ${received.reason}`);
}

/** All pixels are there: some 300 MB of them in 290 KB. */
async function wholePicture(): Promise<unknown> {
  const [side, channels] = [10_000, 3];
  const deflate = createDeflate();
  const chunks: Buffer[] = [];
  const done = (async () => {
    for await (const chunk of deflate) chunks.push(chunk as Buffer);
  })();
  const row = Buffer.alloc(1 + side * channels);
  for (let left = side; left > 0; left--) {
    if (!deflate.write(row)) await new Promise((resolve) => deflate.once("drain", resolve));
  }
  deflate.end();
  await done;
  const bytes = pngOf({ width: side, height: side }, Buffer.concat(chunks));
  return prepareImage({ name: "white.png", bytes });
}

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  "a line of 300 MB": (arena) => put(arena, repeated(Buffer.alloc(MEBIBYTE, "x"), 300)),
  "a line with 700,000 keys": (arena) => put(arena, repeated(manyKeys(), 1)),
  "5 million blank lines": (arena) => put(arena, repeated(Buffer.alloc(MEBIBYTE, "\n"), 5)),
  "a vector of 400 MB in a bundle": (arena) => receiveHuge(arena, 400 * MEBIBYTE),
  "a picture of 100 million pixels": wholePicture,
  "a picture that claims 100,000 by 100,000": () =>
    prepareImage({ name: "bomb.png", bytes: pngOf({ width: 100_000, height: 100_000 }) }),
  "an interlaced picture of 800 MB": () => {
    const bytes = pngOf({ width: 10_000, height: 10_000, depth: 16, colours: 6, interlace: 1 });
    return prepareImage({ name: "bomb.png", bytes });
  },
  "a file of 400 MB to inspect": async ({ world }) => {
    const path = join(world.inside, "zeros");
    const descriptor = openSync(path, "w");
    writeSync(descriptor, "x", 400 * MEBIBYTE);
    closeSync(descriptor);
    const { problems } = await inspectTarget(world.store.context.ports, path);
    throw new SiltError("corrupt", problems.join());
  },
};

const name = process.argv[2] ?? "";
const scenario = SCENARIOS[name];
if (scenario === undefined) throw new Error(`no scenario "${name}"`);
await using arena = await openFuzzArena();
const outside = arena.world.outside();
const ending = await endingOf(() => scenario(arena));
const isUntouched = arena.world.outside() === outside;
process.stdout.write(`${JSON.stringify({ ...ending, peakBytes: peakBytes(), isUntouched })}\n`);
