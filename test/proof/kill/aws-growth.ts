/** What a store on AWS consists of, in objects, items and bytes. */

import { type AttributeValue, ScanCommand } from "@aws-sdk/client-dynamodb";
import { ListMultipartUploadsCommand, ListObjectsV2Command } from "@aws-sdk/client-s3";
import { createAwsClients } from "@silt/aws";
import { parseLocation } from "../../../packages/silt/src/location.ts";
import type { StoreGrowth } from "./growth.ts";
import { expectThat } from "./role-context.ts";

type Item = Record<string, AttributeValue>;

const PAGES_MAX = 1_000;

/** Follows all pages; throws when an upload of parts was left, for those that are made here are small. */
export async function measureAws(location: string): Promise<StoreGrowth> {
  const place = parseLocation(location);
  if (place.kind !== "aws") throw new TypeError(`${location} is not on AWS`);
  const { bucket: Bucket, prefix: Prefix, table: TableName } = place;
  using clients = createAwsClients();
  const growth = { objects: 0, objectBytes: 0, logBytes: 0, walBytes: 0 };
  let ContinuationToken: string | undefined;
  for (let page = 1; page <= PAGES_MAX; page++) {
    const listed = await clients.s3.send(
      new ListObjectsV2Command({ Bucket, Prefix: `${Prefix}collections/`, ContinuationToken }),
    );
    const contents = listed.Contents ?? [];
    growth.objects += contents.length;
    growth.objectBytes += contents.reduce((sum, { Size = 0 }) => sum + Size, 0);
    ContinuationToken = listed.NextContinuationToken;
    if (ContinuationToken === undefined) break;
  }
  let from: Item | undefined;
  for (let page = 1; page <= PAGES_MAX; page++) {
    const { Items = [], LastEvaluatedKey } = await clients.dynamo.send(
      new ScanCommand({ TableName, ...(from !== undefined && { ExclusiveStartKey: from }) }),
    );
    for (const item of Items) growth.logBytes += JSON.stringify(item).length;
    from = LastEvaluatedKey;
    if (from === undefined) break;
  }
  const { Uploads = [] } = await clients.s3.send(
    new ListMultipartUploadsCommand({ Bucket, Prefix }),
  );
  expectThat(Uploads.length === 0, () => `uploads were left: ${Uploads.map(({ Key }) => Key)}`);
  return growth;
}
