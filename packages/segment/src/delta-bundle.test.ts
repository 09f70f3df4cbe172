import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { canonicalJson } from "@silt/core";
import { createSeededRandom } from "@silt/testkit";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { readBundle } from "./delta-bundle.ts";
import {
  type BundlePlace,
  bodyOf,
  bundleOf,
  manifestFor,
  openBundlePlace,
  poisonReason,
  runOf,
  SAMPLE,
  sampleDelta,
  type TarEntry,
  tarEntry,
  tarOf,
} from "./hostile-bundle.fixture.ts";
import { expectSameContent, OWNER, RUN_ID, unstampedOf } from "./merge-trial.fixture.ts";

/** The machine may be busy; no claim here is about time. */
vi.setConfig({ testTimeout: 60_000 });

const FLIPS = 300;

let place: BundlePlace;
beforeAll(async () => {
  place = await openBundlePlace();
});
afterAll(() => place[Symbol.asyncDispose]());

describe("receiveDelta()", () => {
  it("takes a sound bundle and gives its rows back under the run's sequence number", async () => {
    const { sqlite, manifest } = sampleDelta(place.scratch);
    const received = await place.receive(bundleOf(manifest, sqlite), manifest);
    if (received.outcome !== "sound") throw new Error(received.reason);
    expect(received.input).toMatchObject({ firstSequence: 7, lastSequence: 7, replaced: 1 });
    const content = await place.workbench.readDelta(received.input);
    expect([...content.rows.values()].map(({ sequence }) => sequence)).toEqual([7, 7, 7]);
    expectSameContent(unstampedOf(content), SAMPLE);
  });

  it("takes what buildDelta() made", async () => {
    const draft = { runId: RUN_ID, source: "file:///x.png", content: SAMPLE };
    const built = await place.workbench.buildDelta(OWNER, draft);
    if (built.source.kind !== "file") throw new Error("expected a file");
    expect(built.rows).toEqual({ put: 1, patch: 1, delete: 1 });
    const tar = readFileSync(built.source.path);
    expect((await place.receive(tar, built)).outcome).toBe("sound");
  });
});

describe("F32 a hostile tar is poison and writes nothing", () => {
  const file = (name: string, body = "x"): TarEntry => ({ name, body: Buffer.from(body) });
  const hostile: readonly [string, (json: TarEntry, sqlite: TarEntry) => Buffer, RegExp][] = [
    [
      "path traversal first",
      (json, sqlite) => tarOf(file("../../evil"), json, sqlite),
      /does not begin with delta.json/,
    ],
    [
      "path traversal",
      (json) => tarOf(json, file("../../delta.sqlite")),
      /File "..\/..\/delta.sqlite", expected the file delta.sqlite/,
    ],
    [
      "absolute path",
      (json) => tarOf(json, file("/tmp/delta.sqlite")),
      /File "\/tmp\/delta.sqlite"/,
    ],
    [
      "path by prefix",
      (json, sqlite) => tarOf(json, { ...sqlite, prefix: "../.." }),
      /File "..\/..\/delta.sqlite"/,
    ],
    [
      "symbolic link",
      (json) => tarOf(json, { name: "delta.sqlite", type: "2", link: "/etc/passwd" }),
      /SymbolicLink/,
    ],
    [
      "hard link",
      (json) => tarOf(json, { name: "delta.sqlite", type: "1", link: "delta.json" }),
      /Link/,
    ],
    ["device", (json) => tarOf(json, { name: "delta.sqlite", type: "3" }), /CharacterDevice/],
    ["pipe", (json) => tarOf(json, { name: "delta.sqlite", type: "6" }), /FIFO/],
    [
      "folder",
      (json, sqlite) => tarOf(json, { name: "delta.sqlite/", type: "5" }, sqlite),
      /Directory/,
    ],
    [
      "sparse file",
      (json, { body = Buffer.alloc(0) }) => tarOf(json, { name: "delta.sqlite", type: "S", body }),
      /SparseFile/,
    ],
    [
      "old-style contiguous file",
      (json, sqlite) => tarOf(json, { ...sqlite, type: "7" }),
      /ContiguousFile/,
    ],
    [
      "duplicate names",
      (json, sqlite) => tarOf(json, json, sqlite),
      /File "delta.json", expected the file delta.sqlite/,
    ],
    [
      "duplicate SQLite file",
      (json, sqlite) => tarOf(json, sqlite, sqlite),
      /File "delta.sqlite"|much longer/,
    ],
    ["wrong order", (json, sqlite) => tarOf(sqlite, json), /does not begin with delta.json/],
    ["third file", (json, sqlite) => tarOf(json, sqlite, file("more")), /File "more"/],
    ["no SQLite file", (json) => tarOf(json), /holds 1 files/],
    ["nothing", () => tarOf(), /does not begin with delta.json/],
    ["no bytes", () => Buffer.alloc(0), /no sound tar/],
    [
      "huge announced size",
      (json) =>
        Buffer.concat([tarEntry(json), tarEntry({ name: "delta.sqlite", size: 8 ** 11 - 1 })]),
      /delta.sqlite has 8589934591 bytes/,
    ],
    [
      "huge size in base 256",
      (json) =>
        Buffer.concat([
          tarEntry(json),
          tarEntry({
            name: "delta.sqlite",
            rawSize: Buffer.from("80000000000fffffffffffff", "hex"),
          }),
        ]),
      /bytes, at most|no sound tar/,
    ],
    [
      "negative size",
      (json) =>
        Buffer.concat([
          tarEntry(json),
          tarEntry({ name: "delta.sqlite", rawSize: Buffer.alloc(12, 0xff) }),
        ]),
      /no sound tar|does not match the length/,
    ],
    [
      "huge manifest",
      (_, sqlite) => tarOf(file("delta.json", " ".repeat(70_000)), sqlite),
      /delta.json has 70000 bytes/,
    ],
    [
      "manifest that is no JSON",
      (_, sqlite) => tarOf(file("delta.json", "{"), sqlite),
      /it is not JSON/,
    ],
    [
      "manifest that is no manifest",
      (_, sqlite) => tarOf(file("delta.json", "{}"), sqlite),
      /Cannot read delta.json/,
    ],
    [
      "pax header",
      (json, sqlite) =>
        tarOf(
          json,
          { name: "pax", type: "x", body: Buffer.from("22 path=../../evil.db\n") },
          sqlite,
        ),
      /extended header/,
    ],
    [
      "global pax header first",
      (json, sqlite) =>
        tarOf(
          { name: "delta.json", type: "g", body: Buffer.from("22 path=../../evil.db\n") },
          json,
          sqlite,
        ),
      /extended header/,
    ],
    [
      "long name of GNU tar",
      (json, sqlite) =>
        tarOf(json, { name: "delta.sqlite", type: "L", body: Buffer.from("../../evil\0") }, sqlite),
      /extended header/,
    ],
    [
      "much more than its files",
      (json, sqlite) => Buffer.concat([tarOf(json, sqlite), Buffer.alloc(200_000)]),
      /much longer than its files/,
    ],
    [
      "another tar behind the end",
      (json, sqlite) => Buffer.concat([tarOf(json, sqlite), tarOf(file("more"))]),
      /what follows its files is not zero/,
    ],
    ["gzip", (json, sqlite) => gzipSync(tarOf(json, sqlite)), /does not begin with delta.json/],
    [
      "gzip bomb",
      (json) =>
        gzipSync(tarOf(json, { name: "delta.sqlite", body: Buffer.alloc(64 * 1024 * 1024) })),
      /does not begin with delta.json/,
    ],
    [
      "damaged checksum",
      (json, sqlite) => {
        const tar = tarOf(json, sqlite);
        tar[148] = 0x39;
        return tar;
      },
      /no sound tar/,
    ],
  ];
  for (const [what, make, reason] of hostile) {
    it(what, async () => {
      const { sqlite, manifest } = sampleDelta(place.scratch);
      const json = { name: "delta.json", body: Buffer.from(canonicalJson(manifest)) };
      const tar = make(json, { name: "delta.sqlite", body: sqlite });
      const before = place.outside();
      expect(poisonReason(await place.receive(tar, manifest))).toMatch(reason);
      expect(place.outside()).toEqual(before);
    });
  }

  it("F28 F30 a bundle that is cut anywhere", async () => {
    const { sqlite, manifest } = sampleDelta(place.scratch);
    const tar = bundleOf(manifest, sqlite);
    const blocks = Array.from(
      { length: Math.ceil(tar.byteLength / 512) },
      (_, index) => index * 512,
    );
    // The end marker carries nothing.
    const needed = blocks.filter((at) => at < tar.byteLength - 1024);
    for (const at of needed.flatMap((block) => [block, block + 1, block + 511])) {
      const cut = tar.subarray(0, Math.min(at, tar.byteLength - 1025));
      expect(
        poisonReason(await place.receive(Buffer.from(cut), manifest)),
        `cut at ${at}`,
      ).not.toBe("");
    }
  });

  it("F31 each of 300 random bit flips is found, by the hash that was registered", async () => {
    const { sqlite, manifest } = sampleDelta(place.scratch);
    const tar = bundleOf(manifest, sqlite);
    const run = runOf(tar, manifest);
    const random = createSeededRandom(1);
    for (let flip = 0; flip < FLIPS; flip++) {
      const flipped = Buffer.from(tar);
      const at = random.int(tar.byteLength);
      flipped[at] = (flipped[at] as number) ^ (1 << random.int(8));
      const received = await place.workbench.receiveDelta(OWNER, run, bodyOf(flipped));
      expect(poisonReason(received), `byte ${at}`).toMatch(/registered were/);
    }
  });

  it("F31 flips that were registered as they are never give other rows, and never throw", async () => {
    const { sqlite, manifest } = sampleDelta(place.scratch);
    const random = createSeededRandom(2);
    let sound = 0;
    for (let flip = 0; flip < FLIPS; flip++) {
      const flipped = Buffer.from(sqlite);
      const at = random.int(sqlite.byteLength);
      flipped[at] = (flipped[at] as number) ^ (1 << random.int(8));
      const tar = bundleOf(manifestFor(manifest, flipped), flipped);
      const received = await place.receive(tar, manifest);
      if (received.outcome === "poison") continue;
      // Most bytes of a small file are free space, where a flip changes nothing.
      sound += 1;
      expectSameContent(unstampedOf(await place.workbench.readDelta(received.input)), SAMPLE);
    }
    expect(sound).toBeLessThan(FLIPS);
  });
});

describe("readBundle()", () => {
  it("F30 a bundle that cannot be read is unavailable, not poison", async () => {
    const { sqlite, manifest } = sampleDelta(place.scratch);
    const path = join(place.scratch, "delta.tar");
    writeFileSync(path, bundleOf(manifest, sqlite));
    await expect(readBundle(path, join(place.scratch, "no", "folder"))).rejects.toMatchObject({
      kind: "unavailable",
    });
    await expect(readBundle(join(place.scratch, "none.tar"), undefined)).rejects.toMatchObject({
      kind: "unavailable",
    });
  });
});
