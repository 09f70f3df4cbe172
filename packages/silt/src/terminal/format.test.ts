import { describe, expect, it } from "vitest";
import { formatBytes } from "./format-bytes.ts";
import { formatCount } from "./format-count.ts";
import { formatDuration } from "./format-duration.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

describe("formatBytes()", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1023, "1023 B"],
    [1024, "1.0 KiB"],
    [1536, "1.5 KiB"],
    [99.94 * 1024, "99.9 KiB"],
    [99.96 * 1024, "100 KiB"],
    [1023.4 * 1024, "1023 KiB"],
    [1023.6 * 1024, "1.0 MiB"],
    [12.34 * 1024 ** 2, "12.3 MiB"],
    [5 * 1024 ** 6, "5120 PiB"],
    [Number.NaN, "-"],
  ])("says %d as %s", (bytes, said) => expect(formatBytes(bytes)).toBe(said));
});

describe("formatDuration()", () => {
  it.each([
    [0, "0 ms"],
    [-5, "0 ms"],
    [340.4, "340 ms"],
    [999.6, "1.0 s"],
    [1_250, "1.3 s"],
    [9_949, "9.9 s"],
    [9_950, "10 s"],
    [59_499, "59 s"],
    [59_500, "1 min"],
    [2 * MINUTE + 5 * SECOND, "2 min 5 s"],
    [HOUR - 500, "1 h"],
    [HOUR + 3 * MINUTE, "1 h 3 min"],
    [24 * HOUR - 20 * SECOND, "1 d"],
    [76 * HOUR, "3 d 4 h"],
    [Number.POSITIVE_INFINITY, "-"],
  ])("says %d ms as %s", (ms, said) => expect(formatDuration(ms)).toBe(said));
});

describe("formatCount()", () => {
  it.each([
    [0, "0"],
    [999, "999"],
    [1_234_567, "1,234,567"],
    [1234.6, "1,235"],
    [Number.NaN, "-"],
  ])("says %d as %s", (count, said) => expect(formatCount(count)).toBe(said));
});
