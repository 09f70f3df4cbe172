import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PutRow } from "@silt/core";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createRowSpool } from "./row-spool.ts";
import { mountSmallDisk } from "./small-disk.fixture.ts";

const logger = { log() {} };
const UNAVAILABLE = { name: "SiltError", kind: "unavailable" };

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "silt-spool-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const rowOf = (line: number): PutRow => ({
  operation: "put",
  id: `r${line}`,
  parent: null,
  document: "x".repeat(10_000),
  metadata: {},
  embedding: new Uint8Array(8),
  sequence: 0,
});

it("F30 a spool on a disk that fills up is unavailable, and leaves nothing", (context) => {
  const disk = join(folder, "disk");
  using _disk = mountSmallDisk(disk, 1, context);
  {
    using spool = createRowSpool(disk, logger);
    const fill = () => {
      for (let line = 1; line < 1_000; line++) {
        spool.add(rowOf(line), { line, shard: "0-of-1", group: null });
      }
      return [...spool.rows("0-of-1")];
    };
    expect(fill).toThrow(expect.objectContaining(UNAVAILABLE));
  }
  expect(readdirSync(disk)).toEqual([]);
});

it("F30 a spool that finds no space at all is unavailable, and leaves nothing", (context) => {
  const disk = join(folder, "disk");
  using _disk = mountSmallDisk(disk, 1, context);
  const ballast = join(disk, "ballast");
  expect(() => writeFileSync(ballast, new Uint8Array(2 ** 21))).toThrow(/ENOSPC/);
  expect(() => createRowSpool(disk, logger)).toThrow(expect.objectContaining(UNAVAILABLE));
  expect(readdirSync(disk)).toEqual(["ballast"]);
  rmSync(ballast);
  using spool = createRowSpool(disk, logger);
  spool.add(rowOf(1), { line: 1, shard: "0-of-1", group: null });
  expect([...spool.rows("0-of-1")].map(({ row }) => row.id)).toEqual(["r1"]);
});
