import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { SiltError } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type TemporaryStore, temporaryStore } from "../temporary-store.fixture.ts";
import { type During, poolThat } from "./extract-pool.fixture.ts";
import type { ImageFile } from "./image-source.ts";
import { createImageSources } from "./image-sources.ts";
import { IngestSession } from "./ingest-session.ts";
import { type MemoryBucket, memoryBucket } from "./memory-bucket.fixture.ts";
import { type IngestTargets, openTargets } from "./open-targets.ts";
import { type PictureFolder, pictureFolder, recordsOf } from "./pictures.fixture.ts";
import { createS3Source } from "./s3-source.ts";
import type { SourceOutcome } from "./source-outcome.ts";
import { imageFile } from "./walk-images.ts";

const EXTRACTIONS_MAX = 3;
const BATCH_SOURCES = 16;

let temporary: TemporaryStore;
let pictures: PictureFolder;
let bucket: MemoryBucket;
let targets: IngestTargets;
beforeEach(async () => {
  temporary = await temporaryStore();
  pictures = pictureFolder();
  bucket = memoryBucket();
  targets = await openTargets(ports(), { pipeline: "image" }, { create: true });
});
afterEach(async () => {
  pictures[Symbol.dispose]();
  await temporary[Symbol.asyncDispose]();
});

const ports = () => temporary.store.context.ports;
const fileOf = (key: string): ImageFile => ({ uri: `s3://b/${key}`, root: "s3://b" });
const A = fileOf("a.png");
const put = (key: string, byte: number, metadata: Readonly<Record<string, string>> = {}) =>
  bucket.put(key, new Uint8Array([byte]), metadata);

interface Session extends AsyncDisposable {
  take(file?: ImageFile, mayDelete?: boolean): Promise<void>;
  flush(): Promise<void>;
  readonly outcomes: readonly SourceOutcome[];
  readonly told: readonly string[];
  readonly pool: { readonly taken: number };
}

/** As one process has it, with `during` while each picture is extracted. */
function openSession(
  during: During = () => {},
  into = targets,
  signal?: AbortSignal | undefined,
): Session {
  const pool = poolThat(during);
  const outcomes: SourceOutcome[] = [];
  const sources = createImageSources(createS3Source(async () => bucket));
  const session = new IngestSession(ports(), into, sources, {
    workers: 1,
    pool,
    retryFailed: false,
    signal,
    onOutcome: (outcome) => void outcomes.push(outcome),
  });
  return {
    pool,
    outcomes,
    get told() {
      return outcomes.map(({ outcome }) => outcome);
    },
    take: (file = A, mayDelete = true) => session.ingest(file, { mayDelete }),
    flush: () => session.flush(),
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}

/** What another process makes of an event, from beginning to end. */
async function elsewhere(file = A, into = targets): Promise<readonly string[]> {
  await using session = openSession(() => {}, into);
  await session.take(file);
  await session.flush();
  return session.told;
}

/** Does something the first time only. */
function once(action: () => unknown): () => unknown {
  let isDone = false;
  return () => {
    if (isDone) return;
    isDone = true;
    return action();
  };
}

const documents = async (collection = "images") =>
  (await recordsOf(temporary.store, collection)).map(({ document }) => document);

describe("IngestSession", () => {
  it("F16 a picture that goes while it is extracted is deleted, though its event found nothing to do", async () => {
    put("a.png", 1);
    await using session = openSession(async () => {
      bucket.objects.delete("a.png");
      expect(await elsewhere()).toEqual(["nothing"]);
    });
    await session.take();
    await session.flush();
    expect(await documents()).toEqual([]);
    expect(session.told).toEqual(["deleted"]);
  });

  it("F16 the earlier picture put back while a later one is extracted stands, though its event found it unchanged", async () => {
    put("a.png", 1);
    await elsewhere();
    put("a.png", 2);
    const back = once(async () => {
      put("a.png", 1);
      expect(await elsewhere()).toEqual(["unchanged"]);
    });
    await using session = openSession(back);
    await session.take();
    await session.flush();
    expect(await documents()).toEqual(["byte 1"]);
    expect(session.told).toEqual(["ingested"]);
  });

  it("F16 the same picture uploaded again before its deletion is registered is there again", async () => {
    put("a.png", 1);
    await elsewhere();
    bucket.objects.delete("a.png");
    await using session = openSession();
    await session.take();
    put("a.png", 1);
    expect(await elsewhere()).toEqual(["unchanged"]);
    await session.flush();
    expect(await documents()).toEqual(["byte 1"]);
    expect(session.told).toEqual(["ingested"]);
  });

  it("F16 metadata that is put back while others are registered is seen, though the ETag is the same", async () => {
    put("a.png", 1, { shop: "Kino" });
    await elsewhere();
    put("a.png", 1, { shop: "Velo" });
    await using session = openSession(
      once(async () => {
        put("a.png", 1, { shop: "Kino" });
        expect(await elsewhere()).toEqual(["unchanged"]);
      }),
    );
    await session.take();
    await session.flush();
    expect((await recordsOf(temporary.store, "images"))[0]?.metadata.shop).toBe("Kino");
  });

  it("looks once more at each picture that it registered, at none else, and reads only what changed again", async () => {
    for (const n of [1, 2, 3]) put(`p-${n}.png`, n);
    await elsewhere(fileOf("p-1.png"));
    const asked: string[] = [];
    const { read, head } = bucket;
    bucket.read = (key, options) => {
      asked.push(`read ${key}`);
      return read(key, options);
    };
    bucket.head = (key) => {
      asked.push(`head ${key}`);
      return head(key);
    };
    await using session = openSession();
    for (const n of [1, 2, 3]) await session.take(fileOf(`p-${n}.png`));
    put("p-3.png", 33);
    await session.flush();
    expect(session.told.toSorted()).toEqual(["ingested", "ingested", "unchanged"]);
    expect(session.pool.taken).toBe(3);
    const first = ["read p-1.png", "read p-2.png", "read p-3.png"];
    const second = ["head p-2.png", "head p-3.png"];
    expect(asked).toEqual([...first, ...second, "read p-3.png", "head p-3.png"]);
    expect(await documents()).toEqual(["byte 1", "byte 2", "byte 33"]);
  });

  it("F63 tells nothing of a picture that can't be looked at again, and the next one makes it good", async () => {
    put("a.png", 1);
    await using session = openSession(() => {
      bucket.objects.delete("a.png");
      bucket.failing.add("a.png");
    });
    await session.take();
    await expect(session.flush()).rejects.toMatchObject({ kind: "unavailable" });
    expect(session.told).toEqual([]);
    bucket.failing.clear();
    expect(await elsewhere()).toEqual(["deleted"]);
    expect(await documents()).toEqual([]);
  });

  it("a second look that fails once is made good by reading again", async () => {
    put("a.png", 1);
    const { head } = bucket;
    const fail = once(() => {
      throw new SiltError("unavailable", "Cannot look at it: S3 is down");
    });
    bucket.head = async (key) => {
      fail();
      return head(key);
    };
    await using session = openSession();
    await session.take();
    await session.flush();
    expect(session.outcomes).toMatchObject([{ outcome: "ingested", records: { images: 1 } }]);
    expect(session.pool.taken).toBe(1);
  });

  it("a picture that changes again and again is left unsettled, after three extractions at most", async () => {
    let byte = 0;
    put("a.png", byte);
    await using session = openSession(() => put("a.png", ++byte));
    await session.take();
    await session.flush();
    expect(session.outcomes).toEqual([
      { source: A.uri, outcome: "unsettled", reason: expect.stringContaining("try again") },
    ]);
    expect(session.pool.taken).toBe(EXTRACTIONS_MAX);
    await using later = openSession();
    await later.take();
    await later.flush();
    expect(await documents()).toEqual([`byte ${byte}`]);
  });

  it("a hot picture does not hold the others", async () => {
    let byte = 0;
    let extractions = 0;
    const isAgain = Promise.withResolvers<void>();
    const others = Promise.withResolvers<void>();
    await using session = openSession(async (uri) => {
      if (uri !== A.uri) return;
      put("a.png", ++byte);
      if (++extractions < 2) return;
      isAgain.resolve();
      await others.promise;
    });
    put("a.png", byte);
    await session.take();
    const flushing = session.flush();
    await isAgain.promise;
    const keys = Array.from({ length: BATCH_SOURCES }, (_, n) => `p-${n}.png`);
    for (const key of keys) {
      put(key, 1);
      await session.take(fileOf(key));
    }
    expect(session.told).toEqual(keys.map(() => "ingested"));
    const next = session.flush();
    others.resolve();
    await next;
    expect(session.outcomes.at(-1)).toMatchObject({ source: A.uri, outcome: "unsettled" });
    expect(extractions).toBe(EXTRACTIONS_MAX);
    await flushing;
    // Each batch is one run, and so is each round.
    const [status] = await temporary.store.status("images");
    expect(status?.shards[0]?.pending).toBe(1 + EXTRACTIONS_MAX);
  });

  it("with a batch of hot pictures to settle no other one is begun", async () => {
    const keys = Array.from({ length: BATCH_SOURCES }, (_, n) => `p-${n}.png`);
    const extracted: string[] = [];
    const isAgain = Promise.withResolvers<void>();
    const late = Promise.withResolvers<void>();
    await using session = openSession(async (uri) => {
      extracted.push(uri);
      if (extracted.length <= BATCH_SOURCES) return;
      isAgain.resolve();
      await late.promise;
    });
    for (const key of keys) put(key, 1);
    const taking = keys.map((key) => session.take(fileOf(key)));
    const { head } = bucket;
    bucket.head = async (key) => {
      if (bucket.objects.get(key)?.bytes[0] === 1) put(key, 2);
      return head(key);
    };
    await isAgain.promise;
    put("late.png", 2);
    taking.push(session.take(fileOf("late.png")));
    late.resolve();
    await Promise.all(taking);
    await session.flush();
    expect(session.told).toEqual([...keys, "late.png"].map(() => "ingested"));
    expect(extracted).toHaveLength(2 * BATCH_SOURCES + 1);
    expect(extracted.at(-1)).toBe(fileOf("late.png").uri);
  });

  it("F13 when the time is up no further round is begun", async () => {
    const controller = new AbortController();
    let byte = 0;
    const during = () => {
      put("a.png", ++byte);
      if (byte === 2) controller.abort(new SiltError("unavailable", "The time is up"));
    };
    await using session = openSession(during, targets, controller.signal);
    put("a.png", byte);
    await session.take();
    await expect(session.flush()).rejects.toThrow("The time is up");
    expect(session.told).toEqual([]);
    expect(session.pool.taken).toBe(2);
  });

  it("tells what it found where others have registered since", async () => {
    const before = (meanwhile: () => unknown) => {
      const { head } = bucket;
      bucket.head = async (key) => {
        bucket.head = head;
        await meanwhile();
        await elsewhere();
        return head(key);
      };
    };
    const told = async () => {
      put("a.png", 1);
      await using session = openSession();
      await session.take();
      await session.flush();
      return session.told;
    };
    before(() => bucket.objects.delete("a.png"));
    expect(await told()).toEqual(["nothing"]);
    before(() => put("a.png", 2));
    expect(await told()).toEqual(["unchanged"]);
    expect(await documents()).toEqual(["byte 2"]);
  });

  it("without leave to delete, takes back nothing that others have registered since", async () => {
    put("a.png", 1);
    const { head } = bucket;
    bucket.head = async (key) => {
      bucket.head = head;
      put("a.png", 2);
      await elsewhere();
      bucket.objects.delete("a.png");
      return head(key);
    };
    await using session = openSession();
    await session.take(A, false);
    await session.flush();
    expect(session.told).toEqual(["nothing"]);
    expect(await documents()).toEqual(["byte 2"]);
  });

  it("without leave to delete, takes back a new file that was removed, and none of a missing disk", async () => {
    const removals = {
      "the disk": (disk: string) => renameSync(disk, `${disk}-elsewhere`),
      "a disk that leaves its folder": (disk: string) => {
        renameSync(disk, `${disk}-elsewhere`);
        mkdirSync(disk);
      },
      "the picture": (disk: string) => renameSync(`${disk}/a.png`, `${disk}-a.png`),
    };
    const told: Record<string, readonly string[]> = {};
    for (const [what, remove] of Object.entries(removals)) {
      using place = pictureFolder();
      const disk = place.pathOf("disk");
      mkdirSync(disk);
      for (const name of ["a.png", "b.png"]) writeFileSync(`${disk}/${name}`, what);
      await using session = openSession();
      await session.take(imageFile(`${disk}/a.png`, disk), false);
      remove(disk);
      await session.flush();
      told[what] = session.told;
    }
    expect(told).toEqual({
      "the disk": ["ingested"],
      "a disk that leaves its folder": ["ingested"],
      "the picture": ["deleted"],
    });
    expect(await documents()).toHaveLength(2);
  });

  it("without leave to delete, only takes back what nobody knew before", async () => {
    put("known.png", 1);
    await elsewhere(fileOf("known.png"));
    put("known.png", 2);
    put("new.png", 3);
    await using session = openSession();
    for (const key of ["known.png", "new.png"]) await session.take(fileOf(key), false);
    bucket.objects.clear();
    expect(await elsewhere(fileOf("new.png"))).toEqual(["nothing"]);
    await session.flush();
    expect(session.told).toEqual(["ingested", "deleted"]);
    expect(await documents()).toEqual(["byte 2"]);
  });

  it("a collection made since the targets were opened keeps no old records of a picture", async () => {
    await using session = openSession(); // of "images" alone
    const auto = await openTargets(ports(), { pipeline: "auto" }, { create: true });
    for (const n of [1, 2, 3]) {
      put(`p-${n}.png`, n);
      await elsewhere(fileOf(`p-${n}.png`), auto);
    }
    put("p-1.png", 11);
    bucket.objects.delete("p-2.png");
    // Side by side, with one that has records nowhere else.
    put("p-4.png", 4);
    await Promise.all([1, 2, 4].map((n) => session.take(fileOf(`p-${n}.png`))));
    await session.flush();
    expect(session.told.toSorted()).toEqual(["deleted", "ingested", "ingested"]);
    expect(await documents("lines")).toEqual(["byte 3"]);
    expect(await documents()).toEqual(["byte 11", "byte 3", "byte 4"]);
    const guard = await ports().log.readGuard({ uri: "s3://b/p-1.png", family: "images" });
    expect(guard?.runs.map(({ collection }) => collection)).toEqual(["lines", "images"]);
  });

  it("a collection of its pipeline that was made anew meanwhile ends it", async () => {
    const { identity } = await temporary.store.collection("images");
    const before = new Map([["images", { ...identity, storeId: "0123456789abcdef" }]] as const);
    await using session = openSession(() => {}, { ...targets, collections: before });
    put("a.png", 1);
    await elsewhere();
    put("a.png", 2);
    await expect(session.take()).rejects.toMatchObject({
      kind: "fenced",
      message: expect.stringContaining("start it again"),
    });
    expect(await documents()).toEqual(["byte 1"]);
  });

  it("sees that a file or its sidecar changed while it was extracted, in the same moment and size too", async () => {
    const write = (name: string, text: string) => writeFileSync(pictures.pathOf(name), text);
    write("a.png", "1");
    write("b.png", "2");
    write("b.png.json", `{"shop":"Kino"}`);
    const change = once(() => {
      write("a.png", "3");
      write("b.png.json", `{"shop":"Velo"}`);
    });
    await using session = openSession();
    for (const name of ["a.png", "b.png"]) {
      await session.take(imageFile(pictures.pathOf(name), pictures.path), false);
    }
    change();
    await session.flush();
    expect(session.told).toEqual(["ingested", "ingested"]);
    const records = await recordsOf(temporary.store, "images");
    expect(records.map(({ document, metadata }) => [document, metadata])).toEqual([
      ["byte 51", {}],
      ["byte 50", { shop: "Velo" }],
    ]);
  });
});
