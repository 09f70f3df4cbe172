import { ListObjectsV2Command, type S3Client } from "@aws-sdk/client-s3";
import { type ListedObject, SiltError } from "@silt/core";
import { callAws } from "./aws-error.ts";

/** S3 gives no more at once. */
const PAGE_MAX = 1_000;
const SECOND_MS = 1_000;

export interface ListPage {
  readonly after?: string;
  readonly limit: number;
}

/**
 * Keys of a bucket under a prefix, in the order of their UTF-8 bytes, after `after`, at most `limit`.
 * Every page but the last brings keys, so pages are bounded by the limit.
 */
export async function listBucket(
  client: S3Client,
  bucket: string,
  prefix: string,
  { after, limit }: ListPage,
): Promise<readonly ListedObject[]> {
  const name = `s3://${bucket}/${prefix}`;
  const found: ListedObject[] = [];
  let last = after;
  while (found.length < limit) {
    const list = new ListObjectsV2Command({
      Bucket: bucket,
      Prefix: prefix,
      MaxKeys: Math.min(limit - found.length, PAGE_MAX),
      // XML cannot carry every character of a key.
      EncodingType: "url",
      ...(last !== undefined && { StartAfter: last }),
    });
    const page = await callAws("list", name, () => client.send(list));
    const objects = page.Contents ?? [];
    for (const { Key = "", Size = 0, LastModified } of objects) {
      last = decodeKey(Key);
      found.push({ key: last, bytes: Size, modifiedAtMs: wholeSeconds(LastModified) });
    }
    if (!page.IsTruncated) break;
    if (objects.length === 0) throw brokenPage(name);
  }
  return found;
}

/** Names of the folders right under a prefix that ends in `/`: a request for a thousand, however full they are. */
export async function listBucketFolders(
  client: S3Client,
  bucket: string,
  prefix: string,
): Promise<readonly string[]> {
  const name = `s3://${bucket}/${prefix}`;
  const names: string[] = [];
  let token: string | undefined;
  do {
    const list = new ListObjectsV2Command({
      Bucket: bucket,
      Prefix: prefix,
      Delimiter: "/",
      EncodingType: "url",
      ContinuationToken: token,
    });
    const page = await callAws("list", name, () => client.send(list));
    for (const { Prefix = "" } of page.CommonPrefixes ?? []) {
      names.push(decodeKey(Prefix).slice(prefix.length, -1));
    }
    token = page.NextContinuationToken;
    if (page.IsTruncated === true && token === undefined) throw brokenPage(name);
  } while (token !== undefined);
  return names.sort();
}

/** Half a list would be taken for all of it. */
const brokenPage = (name: string): SiltError =>
  new SiltError(
    "unavailable",
    `Cannot list "${name}": a page says that there are more, and not where; try again`,
  );

/** HTTP dates have no fractions, so neither have those of lists: one object has one time. */
export function wholeSeconds(date: Date | undefined): number {
  return Math.floor((date?.getTime() ?? 0) / SECOND_MS) * SECOND_MS;
}

function decodeKey(key: string): string {
  return decodeURIComponent(key.replaceAll("+", " "));
}
