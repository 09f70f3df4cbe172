import { describe, expect, it } from "vitest";
import { S3_LIMITS } from "./s3-context.ts";
import { partBytesOf } from "./s3-put-parts.ts";

const GIB = 1024 ** 3;
const sizeOf = (bytes: number) => partBytesOf({ name: "s3://b/k", bytes }, S3_LIMITS);

describe("partBytesOf", () => {
  it("gives parts of 16 MiB as long as 10,000 of them are enough", () => {
    expect(sizeOf(GIB)).toBe(16 * 1024 ** 2);
    expect(sizeOf(10_000 * 16 * 1024 ** 2)).toBe(16 * 1024 ** 2);
  });

  it("gives as large parts as 10,000 of them need, up to what S3 can hold", () => {
    for (const bytes of [10_000 * 16 * 1024 ** 2 + 1, 1000 * GIB, 5 * 1024 * GIB]) {
      expect(Math.ceil(bytes / sizeOf(bytes))).toBeLessThanOrEqual(10_000);
      expect(sizeOf(bytes)).toBeLessThanOrEqual(5 * GIB);
    }
    expect(() => sizeOf(5 * 1024 * GIB + 1)).toThrow(/expected at most/);
  });
});
