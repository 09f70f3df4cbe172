/** A bucket, a store in it, and a proxy between the two that can fail. */
import {
  CreateAccessKeyCommand,
  CreateUserCommand,
  IAMClient,
  PutUserPolicyCommand,
} from "@aws-sdk/client-iam";
import { ListMultipartUploadsCommand } from "@aws-sdk/client-s3";
import { type AwsClients, createAwsClients, createS3ObjectStore, type S3Limits } from "@silt/aws";
import { type ObjectStore, type PutCondition, type PutOutcome, sha256Of } from "@silt/core";
import { createSeededRandom, createVirtualClock } from "@silt/testkit";
import { type FaultyProxy, startFaultyProxy } from "../faulty-proxy.fixture.ts";
import { ENDPOINT, newBucket, REGION, ROOT, rootClients } from "../test-account.fixture.ts";

export const MIB = 1024 * 1024;
/** Small parts and ranges; S3's least part is 5 MiB. */
export const SMALL_PARTS: Partial<S3Limits> = {
  singlePutBytesMax: MIB,
  partBytesMin: 5 * MIB,
  readBytes: MIB,
};

export interface S3World extends AsyncDisposable {
  readonly bucket: string;
  /** Straight to the server. */
  readonly clients: AwsClients;
  readonly proxy: FaultyProxy;
  /** Through the proxy. Its pauses take no time. */
  readonly store: ObjectStore;
  /** Another store in the same bucket, straight to the server. */
  open(prefix: string, clients?: AwsClients): ObjectStore;
  /** Keys of uploads that were neither completed nor aborted. */
  unfinishedUploads(): Promise<readonly string[]>;
}

export const PREFIX = "stores/one/";

export async function openS3World(limits: Partial<S3Limits> = SMALL_PARTS): Promise<S3World> {
  const clients = rootClients();
  const bucket = await newBucket(clients);
  const proxy = await startFaultyProxy(ENDPOINT);
  const { endpoint } = proxy;
  const proxied = createAwsClients({ endpoint, region: REGION, credentials: ROOT });
  const pauses = { clock: createVirtualClock({ sleeps: "skip" }), random: createSeededRandom(1) };
  const open = (prefix: string, { s3 }: AwsClients) =>
    createS3ObjectStore({ client: s3, bucket, prefix, limits }, pauses);
  return {
    bucket,
    clients,
    proxy,
    store: open(PREFIX, proxied),
    open: (prefix, given = clients) => open(prefix, given),
    async unfinishedUploads() {
      const left = await clients.s3.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
      return (left.Uploads ?? []).map(({ Key = "" }) => Key);
    },
    async [Symbol.asyncDispose]() {
      proxied[Symbol.dispose]();
      clients[Symbol.dispose]();
      await proxy[Symbol.asyncDispose]();
    },
  };
}

export function randomBytes(seed: number, length: number): Buffer {
  return Buffer.from(createSeededRandom(seed).bytes(length));
}

/** Puts bytes under their own hash. */
export function putBytes(
  store: ObjectStore,
  key: string,
  bytes: Uint8Array,
  condition: PutCondition = { ifAbsent: true },
): Promise<PutOutcome> {
  const told = { bytes: bytes.byteLength, sha256: sha256Of(bytes) };
  return store.put(key, { kind: "bytes", bytes }, { condition, ...told });
}

/** A whole object, and undefined for an absent one. */
export async function readBytes(store: ObjectStore, key: string): Promise<Buffer | undefined> {
  const found = await store.read(key);
  if (found.outcome === "absent") return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of found.body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Clients of a new user of the account who may do what the statements say, and nothing else. */
export async function newUser(UserName: string, Statement: readonly object[]): Promise<AwsClients> {
  const iam = new IAMClient({ endpoint: ENDPOINT, region: REGION, credentials: ROOT });
  try {
    await iam.send(new CreateUserCommand({ UserName }));
    const PolicyDocument = JSON.stringify({ Version: "2012-10-17", Statement });
    await iam.send(new PutUserPolicyCommand({ UserName, PolicyName: "test", PolicyDocument }));
    const { AccessKey } = await iam.send(new CreateAccessKeyCommand({ UserName }));
    const { AccessKeyId = "", SecretAccessKey = "" } = AccessKey ?? {};
    return clientsOf(AccessKeyId, SecretAccessKey);
  } finally {
    iam.destroy();
  }
}

export function clientsOf(accessKeyId: string, secretAccessKey: string): AwsClients {
  const credentials = { accessKeyId, secretAccessKey };
  return createAwsClients({ endpoint: ENDPOINT, region: REGION, credentials });
}
