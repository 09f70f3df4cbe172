/** The store that is damaged, on AWS: what damages it is the account's root user, behind Silt's back. */
import { rmSync } from "node:fs";
import {
  type AttributeValue,
  DeleteItemCommand,
  PutItemCommand,
  ScanCommand,
} from "@aws-sdk/client-dynamodb";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { type AwsClients, openAwsPorts } from "@silt/aws";
import { verifyStore } from "@silt/core";
import { createSeededRandom, createVirtualClock, silentLogger, silentMetrics } from "@silt/testkit";
import { createSegmentEngine } from "../../../packages/segment/src/index.ts";
import {
  type DamageWorld,
  fillStore,
  type Making,
  newWorldFolder,
} from "../../proof/damage/damage-world.ts";
import type { DamagedPlace } from "../../proof/damage/file-cases.ts";
import type { RestorePoint } from "../../proof/damage/restore-point.ts";
import {
  ENDPOINT,
  newBucket,
  newTable,
  REGION,
  ROOT,
  rootClients,
} from "../test-account.fixture.ts";

export type Item = Record<string, AttributeValue>;

/** The bucket and the table, reached as root. */
export interface Behind {
  keys(): Promise<ReadonlyMap<string, string>>;
  readObject(key: string): Promise<Uint8Array>;
  writeObject(key: string, bytes: Uint8Array): Promise<void>;
  removeObject(key: string): Promise<void>;
  items(): Promise<readonly Item[]>;
  putItem(item: Item): Promise<void>;
  removeItem(key: Item): Promise<void>;
}

export interface AwsDamageWorld extends DamageWorld {
  readonly behind: Behind;
}

const PREFIX = "damaged/";
const ITEMS_MAX = 1_000;

export async function buildAwsWorld(seed: number): Promise<AwsDamageWorld> {
  await using making = new AsyncDisposableStack();
  const clients = making.use(rootClients());
  const [bucket, table] = [await newBucket(clients), await newTable(clients)];
  const behind = reachBehind(clients, bucket, table);
  const folder = newWorldFolder();
  making.defer(() => rmSync(folder, { recursive: true, force: true }));
  const engine = making.use(createSegmentEngine({ tempRoot: folder, logger: silentLogger }));
  const random = createSeededRandom(seed);
  const clock = createVirtualClock({ sleeps: "skip" });
  const environment = { engine, logger: silentLogger, metrics: silentMetrics, clock, random };
  const client = { endpoint: ENDPOINT, region: REGION, credentials: ROOT };
  const place = { bucket, prefix: PREFIX, table };
  const open = (create = false) => openAwsPorts(place, { create, client, ...environment });
  using ports = await open(true);
  const older: Making["older"] = new Map();
  const olderLogs: Making["olderLogs"] = [];
  const made = await fillStore({
    ports,
    random,
    older,
    olderLogs,
    readBytes: behind.readObject,
    writeBytes: behind.writeObject,
    copyLog: async () => Buffer.from(JSON.stringify(await behind.items())),
    counts: () => ({ lines: 0, words: 0 }),
  });
  const baseline = await verifyStore(ports, { deep: true });
  const resources = making.move();
  return {
    folder,
    behind,
    pathOf: (key) => key,
    logName: table,
    ...made,
    older,
    olderLogs,
    baseline,
    open: () => open(),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

function reachBehind({ s3, dynamo }: AwsClients, Bucket: string, TableName: string): Behind {
  const at = (key: string) => ({ Bucket, Key: `${PREFIX}${key}` });
  return {
    async keys() {
      // The store is small: one page.
      const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: PREFIX }));
      return new Map(
        Contents.map(({ Key = "", ETag = "" }) => [Key.slice(PREFIX.length), ETag] as const),
      );
    },
    async readObject(key) {
      const { Body } = await s3.send(new GetObjectCommand(at(key)));
      return (await Body?.transformToByteArray()) ?? Buffer.alloc(0);
    },
    async writeObject(key, bytes) {
      await s3.send(new PutObjectCommand({ ...at(key), Body: bytes }));
    },
    async removeObject(key) {
      await s3.send(new DeleteObjectCommand(at(key)));
    },
    async items() {
      const scan = new ScanCommand({ TableName, ConsistentRead: true, Limit: ITEMS_MAX });
      const { Items = [], LastEvaluatedKey } = await dynamo.send(scan);
      if (LastEvaluatedKey !== undefined) throw new Error(`over ${ITEMS_MAX} items`);
      return Items;
    },
    async putItem(item) {
      await dynamo.send(new PutItemCommand({ TableName, Item: item }));
    },
    async removeItem(item) {
      await dynamo.send(new DeleteItemCommand({ TableName, Key: keyOf(item) }));
    },
  };
}

export const keyOf = (item: Item): Item => ({
  pk: item.pk as AttributeValue,
  sk: item.sk as AttributeValue,
});
/** A key as text. */
export const nameOf = ({ pk, sk }: Item): string => `${pk?.S} ${sk?.S}`;

/** The store as it is now, in memory. */
export async function keepAws({ behind }: AwsDamageWorld): Promise<{
  readonly point: RestorePoint;
  readonly place: DamagedPlace;
  readonly items: readonly Item[];
}> {
  const etags = await behind.keys();
  const bytes = new Map<string, Uint8Array>();
  for (const key of etags.keys()) bytes.set(key, await behind.readObject(key));
  const items = await behind.items();
  const bytesOf = (key: string): Uint8Array => {
    const kept = bytes.get(key);
    if (kept === undefined) throw new Error(`nothing is kept of ${key}`);
    return kept;
  };
  const point: RestorePoint = {
    bytesOf,
    paths: () => [...bytes.keys()].sort(),
    async restore() {
      await restoreObjects(behind, etags, bytes);
      await restoreItems(behind, items);
    },
  };
  const place: DamagedPlace = {
    read: bytesOf,
    write: behind.writeObject,
    remove: behind.removeObject,
    // What may not be read is tested with roles that may not.
    locks: {},
  };
  return { point, place, items };
}

async function restoreObjects(
  behind: Behind,
  etags: ReadonlyMap<string, string>,
  bytes: ReadonlyMap<string, Uint8Array>,
): Promise<void> {
  const now = await behind.keys();
  for (const key of now.keys()) if (!etags.has(key)) await behind.removeObject(key);
  for (const [key, etag] of etags) {
    if (now.get(key) !== etag) await behind.writeObject(key, bytes.get(key) as Uint8Array);
  }
}

async function restoreItems(behind: Behind, items: readonly Item[]): Promise<void> {
  const now = new Map((await behind.items()).map((item) => [nameOf(item), item]));
  const names = new Set(items.map(nameOf));
  for (const [name, item] of now) if (!names.has(name)) await behind.removeItem(item);
  for (const item of items) {
    if (textOf(now.get(nameOf(item))) !== textOf(item)) await behind.putItem(item);
  }
}

/** Attributes have no order. */
export const textOf = (item: Item | undefined): string =>
  JSON.stringify(Object.entries(item ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1)));
