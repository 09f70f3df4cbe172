import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { formatLocation, parseLocation } from "./location.ts";

describe("parseLocation()", () => {
  it("takes a text without a scheme for a folder", () => {
    expect(parseLocation("./a/b")).toEqual({ kind: "folder", path: resolve("./a/b") });
    expect(parseLocation("s3:/a")).toEqual({ kind: "folder", path: resolve("s3:/a") });
  });

  it.each([
    ["s3://bucket?table=t", { bucket: "bucket", prefix: "", queue: undefined }],
    ["s3://bucket/?table=t", { bucket: "bucket", prefix: "", queue: undefined }],
    ["s3://my.bucket-1/a/b?table=t", { bucket: "my.bucket-1", prefix: "a/b/", queue: undefined }],
    ["s3://bucket//a/?table=t&queue=q", { bucket: "bucket", prefix: "a/", queue: "q" }],
  ])("takes %s for a store on AWS, and formats it in one spelling", (text, expected) => {
    const location = parseLocation(text);
    expect(location).toEqual({ kind: "aws", table: "t", ...expected });
    expect(parseLocation(formatLocation(location))).toEqual(location);
  });

  it.each([
    ["", "empty"],
    ["gs://bucket?table=t", "no adapter for gs://"],
    ["s3://bucket/prefix", "does not name the table"],
    ["s3://bucket/prefix?table=", "does not name the table"],
    ["s3:///prefix?table=t", "no name of a bucket"],
    ["s3://Bucket?table=t", "no name of a bucket"],
    ["s3://bucket?table=t&tabel=u", '"tabel" is no parameter'],
    ["s3://bucket?table=t&table=u", 'it names "table" twice'],
    ["s3://bucket?table=t?queue=q", 'more than one "?"'],
  ])("refuses %j: %s", (text, reason) => {
    expect(() => parseLocation(text)).toThrow(reason);
  });
});
