import type { ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3";
import { describe, expect, it } from "vitest";
import { listBucket, listBucketFolders } from "./s3-list-objects.ts";

const BUCKET = "bucket";
const PREFIX = "store/collections/";

/** Answers with these pages, one after the other, and keeps what was asked. */
function clientWith(pages: readonly object[]) {
  const asked: ListObjectsV2Command["input"][] = [];
  const send = async ({ input }: ListObjectsV2Command) => {
    asked.push(input);
    return pages[asked.length - 1];
  };
  return { asked, client: { send } as unknown as S3Client };
}

const folders = (...names: string[]) =>
  names.map((name) => ({ Prefix: encodeURIComponent(`${PREFIX}${name}/`).replaceAll("%20", "+") }));

describe("listBucketFolders()", () => {
  it("goes on where a page ends, and gives names as they are, ascending", async () => {
    const { asked, client } = clientWith([
      { CommonPrefixes: folders("b", "c d"), IsTruncated: true, NextContinuationToken: "next" },
      { CommonPrefixes: folders("a+é%"), IsTruncated: false },
    ]);
    expect(await listBucketFolders(client, BUCKET, PREFIX)).toEqual(["a+é%", "b", "c d"]);
    expect(asked).toMatchObject([
      { Bucket: BUCKET, Prefix: PREFIX, Delimiter: "/", ContinuationToken: undefined },
      { Delimiter: "/", ContinuationToken: "next" },
    ]);
  });

  it("never takes half a list for all of it", async () => {
    const { client } = clientWith([{ CommonPrefixes: folders("a"), IsTruncated: true }]);
    await expect(listBucketFolders(client, BUCKET, PREFIX)).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining(`s3://${BUCKET}/${PREFIX}`),
    });
  });

  it("of an empty prefix are none", async () => {
    const { client } = clientWith([{ IsTruncated: false }]);
    expect(await listBucketFolders(client, BUCKET, PREFIX)).toEqual([]);
  });
});

describe("listBucket()", () => {
  it("never takes half a list for all of it", async () => {
    const { client } = clientWith([{ Contents: [], IsTruncated: true }]);
    await expect(listBucket(client, BUCKET, PREFIX, { limit: 10 })).rejects.toMatchObject({
      kind: "unavailable",
    });
  });
});
