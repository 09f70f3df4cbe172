/** Issue 4, hostile input: what is large is refused, or read, in little memory and time, in a process of its own. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const HEAP_MIB = 300;
const MEBIBYTE = 1024 * 1024;
const MS_MAX = 120_000;

const CASES: readonly [name: string, peakMibMax: number, ended: string, says: RegExp][] = [
  ["a line of 300 MB", 400, "invalid", /line 1: it is over 8388608 bytes/],
  ["a line with 700,000 keys", 600, "invalid", /line 1: .*"metadata" is over 64 KiB/],
  ["5 million blank lines", 300, "done", /^$/],
  ["a vector of 400 MB in a bundle", 400, "corrupt", /poison: "embedding" is over 65536 bytes/],
  ["a picture of 100 million pixels", 400, "done", /^$/],
  ["a picture that claims 100,000 by 100,000", 300, "invalid", /pixel limit/],
  ["an interlaced picture of 800 MB", 300, "invalid", /decodes to 800000000 bytes at once/],
  ["a file of 400 MB to inspect", 300, "corrupt", /does not begin with delta\.json/],
];

interface Told {
  readonly ended: string;
  readonly message?: string;
  readonly peakBytes: number;
  readonly isUntouched: boolean;
}

async function runChild(name: string): Promise<Told> {
  const child = join(import.meta.dirname, "bounded-child.ts");
  const args = [`--max-old-space-size=${HEAP_MIB}`, child, name];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: MS_MAX });
  return JSON.parse(stdout);
}

describe("F32 I8 memory stays bounded by", () => {
  for (const [name, peakMibMax, ended, says] of CASES) {
    it(name, async () => {
      const told = await runChild(name);
      expect(told).toMatchObject({ ended, isUntouched: true });
      expect(told.message ?? "").toMatch(says);
      expect(told.peakBytes / MEBIBYTE).toBeLessThan(peakMibMax);
    });
  }
});
