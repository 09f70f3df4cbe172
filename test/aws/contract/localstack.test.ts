/**
 * The object store on LocalStack itself, a second opinion beside MiniStack. What it can't do here, said
 * aloud: its DynamoDB is a download that no package registry serves, so log and leases are not tested on
 * it; its conditional complete of an upload in parts is not atomic (two of four writers may win), so that
 * `s3-put-behaviour.test.ts` would be red there.
 */
import { createAwsClients, createS3ObjectStore } from "@silt/aws";
import { systemClock, systemRandom } from "@silt/local";
import { objectStoreContract } from "@silt/testkit";
import { afterAll, beforeAll } from "vitest";
import { type ApiServer, startLocalstack, stopServer } from "../../../localstack/api-server.ts";
import { newBucket, REGION, ROOT } from "../test-account.fixture.ts";

const INSTALL_MS_MAX = 600_000;

let server: ApiServer;
beforeAll(async () => {
  server = await startLocalstack({ say: (line) => process.stderr.write(`${line}\n`) });
}, INSTALL_MS_MAX);
afterAll(() => stopServer(server));

objectStoreContract("S3 of LocalStack", async () => {
  const { endpoint } = server;
  const clients = createAwsClients({ endpoint, region: REGION, credentials: ROOT });
  const bucket = await newBucket(clients);
  const store = createS3ObjectStore(
    { client: clients.s3, bucket, prefix: "stores/one/" },
    { clock: systemClock, random: systemRandom },
  );
  return { store, dispose: async () => clients[Symbol.dispose]() };
});
