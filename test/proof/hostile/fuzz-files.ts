/** Fuzz targets: files of other programs: pictures, journals, whatever `inspect` is pointed at. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isSiltError } from "@silt/core";
import { PREPARED_PIXELS_MAX, prepareImage } from "@silt/embed";
import { silentLogger } from "@silt/testkit";
import sharp from "sharp";
import { bundleOf } from "../../../packages/segment/src/hostile-bundle.fixture.ts";
import { openSegmentFile } from "../../../packages/segment/src/index.ts";
import { inspectTarget } from "../../../packages/silt/src/inspect-target.ts";
import { lineHash } from "../../../packages/silt/src/journal-entries.ts";
import { withSql } from "./forge-delta.ts";
import { type FuzzTarget, insist } from "./fuzz-arena.ts";
import { mutatePages, mutateRows } from "./fuzz-bundle.ts";
import { mutateBytes, mutateJson, mutateText } from "./mutate.ts";

const FORMATS = ["png", "jpeg", "webp", "gif", "tiff", "avif"] as const;
const pictures = new Map<string, Promise<Buffer>>();

function pictureOf(format: (typeof FORMATS)[number]): Promise<Buffer> {
  const known = pictures.get(format);
  if (known !== undefined) return known;
  const create = { width: 40, height: 30, channels: 3, background: "teal" } as const;
  const made = sharp({ create }).toFormat(format).toBuffer();
  pictures.set(format, made);
  return made;
}

export const fuzzPicture: FuzzTarget = async (random) => {
  let bytes: Buffer = await pictureOf(random.pick(FORMATS));
  for (let left = 1 + random.int(3); left > 0; left--) bytes = mutateBytes(random, bytes);
  try {
    const { width, height } = await prepareImage({ name: "x.png", bytes });
    insist(
      width >= 1 && height >= 1 && width * height <= PREPARED_PIXELS_MAX,
      `${width} x ${height}`,
    );
    return "taken";
  } catch (error) {
    insist(isSiltError(error, "invalid"), String(error));
    insist(error.message.startsWith('Cannot read image "x.png": '), error.message);
    return "refused";
  }
};

export const fuzzInspect: FuzzTarget = async (random, { world, sound }) => {
  const path = join(world.inside, "target");
  const { sqlite, manifest } = sound;
  writeFileSync(
    path,
    mutateBytes(random, random.chance(0.5) ? sqlite : bundleOf(manifest, sqlite)),
  );
  const found = await inspectTarget(world.store.context.ports, path);
  insist(found.sound === (found.problems.length === 0), "sound, with problems");
  insist(JSON.stringify(found).length < 100_000, "an inspection without end");
  rmSync(path);
  return found.sound ? "sound" : "unsound";
};

/** A segment whose hash was right: every question that a reader asks is answered, or it is corrupt. */
export const fuzzSegment: FuzzTarget = async (random, { world, sound }) => {
  const path = join(world.inside, "segment.sqlite");
  let bytes = withSql(sound.sqlite, (db) => {
    for (let left = 1 + random.int(3); left > 0; left--) mutateRows(random, db);
  });
  if (random.chance(0.4)) bytes = mutatePages(random, bytes);
  writeFileSync(path, bytes);
  try {
    using file = openSegmentFile(path, silentLogger);
    for (const { embedding } of file.vectors(2)) insist(embedding.byteLength === 8, "a length");
    const ids = [...file.page("", 100).map(({ id }) => id), ...file.childrenOf("p")];
    // A damaged index may hide a row, never give another one.
    for (const id of ids) insist([id, undefined].includes(file.row(id)?.id), "another row");
    file.hasMetadataKey("shop");
    file.replacedAt("p");
    file.counts();
    return "read";
  } catch (error) {
    insist(isSiltError(error, "corrupt"), String(error));
    return "corrupt";
  } finally {
    rmSync(path);
  }
};

/** What of a journal is taken is written to the store, where the verification at the end looks at it. */
export const fuzzJournal: FuzzTarget = async (random, { world }) => {
  const inbox = await world.store.collection("inbox");
  const { collection, storeId } = inbox.identity;
  const vector = Buffer.from(new Float32Array([1, 2]).buffer).toString("base64");
  const put = {
    operation: "put",
    id: `j${random.int(99)}`,
    parent: null,
    document: null,
    metadata: {},
    embedding: vector,
    sequence: 0,
  };
  const entries: unknown[] = [
    { format: 1, requires: [], collection, storeId },
    { row: put },
    { replace: "p" },
    { row: { operation: "delete", id: "j1", sequence: 0 } },
    { drafts: [{ shard: "0-of-1", runId: "x" }] },
  ];
  const at = random.int(entries.length);
  entries[at] = mutateJson(random, entries[at]);
  const lines = entries
    .map((entry) => JSON.stringify(entry) ?? "null")
    .map((json) => `${lineHash(json)} ${json}\n`);
  const text = random.chance(0.3) ? mutateText(random, lines.join("")) : lines.join("");
  const folder = join(world.inside, "journal");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  writeFileSync(join(folder, "000000001.journal"), text);
  try {
    await using writer = await inbox.writer({ journal: folder });
    insist(writer.pending === 0, "something is left");
    return "taken";
  } catch (error) {
    insist(isSiltError(error, "corrupt") || isSiltError(error, "invalid"), String(error));
    insist(error.message.startsWith("Cannot replay journal"), error.message);
    return "refused";
  }
};
