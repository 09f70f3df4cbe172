import { existsSync, mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isTempName, sweepTempFiles, TEMP_AGE_MS_MAX, tempPath } from "./temp-file.ts";
import { temporaryFolder } from "./temporary-store.fixture.ts";

const GONE = 999_999_999;
let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
  mkdirSync(join(folder.path, "tmp"));
});
afterEach(() => folder[Symbol.dispose]());

/** Makes a file, or a folder with one in it, that was last written so long ago. */
function leave(name: string, ageMs: number): string {
  const path = join(folder.path, "tmp", name);
  if (name.startsWith("work-")) {
    mkdirSync(path);
    writeFileSync(join(path, "1.sqlite"), "x");
  } else writeFileSync(path, "x");
  const at = (Date.now() - ageMs) / 1000;
  utimesSync(path, at, at);
  return path;
}

describe("sweepTempFiles()", () => {
  it("F30 F41 removes files and work folders of killed processes once they are old", () => {
    const old = [
      leave(`${GONE}-0123456789ab-0123456789ab.tmp`, 2 * TEMP_AGE_MS_MAX),
      leave(`work-${GONE}-aB3xYz`, 2 * TEMP_AGE_MS_MAX),
    ];
    expect(sweepTempFiles(folder.path, Date.now())).toBe(2);
    for (const path of old) expect(existsSync(path)).toBe(false);
  });

  it("leaves what is young, what a living process owns, and names that are not ours", () => {
    const kept = [
      leave(`${GONE}-0123456789ab-0123456789ab.tmp`, 0),
      leave(`work-${GONE}-aB3xYz`, 0),
      leave(`work-${process.ppid}-aB3xYz`, 2 * TEMP_AGE_MS_MAX),
      leave("somebody-elses.tmp", 2 * TEMP_AGE_MS_MAX),
    ];
    expect(sweepTempFiles(folder.path, Date.now())).toBe(0);
    for (const path of kept) expect(existsSync(path)).toBe(true);
  });

  it("takes a work folder of our own number that is older than we are for a predecessor's", () => {
    const path = leave(`work-${process.pid}-aB3xYz`, 1_000 * TEMP_AGE_MS_MAX);
    sweepTempFiles(folder.path, Date.now());
    expect(existsSync(path)).toBe(false);
  });
});

it("isTempName() knows the names that are given, and no others", () => {
  expect(isTempName(tempPath("/x").split("/").at(-1) ?? "")).toBe(true);
  expect(isTempName("work-12-abc123")).toBe(true);
  expect(isTempName("work-12-abc123.txt")).toBe(false);
});
