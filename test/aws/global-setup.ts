/**
 * The API server of a run of these tests: MiniStack with IAM enforced, on a port of its own, ended
 * afterwards. With AWS_ENDPOINT_URL set, the one that it names. The tests of library and command that
 * hold on a folder, too, get a bucket for their stores.
 */
import { ROOT_ENV, startMinistack, stopServer } from "../../localstack/api-server.ts";

export async function setup(): Promise<(() => Promise<void>) | undefined> {
  Object.assign(process.env, ROOT_ENV);
  if (process.env.AWS_ENDPOINT_URL !== undefined) {
    await makeBucket();
    return undefined;
  }
  const server = await startMinistack({ say: (line) => process.stderr.write(`${line}\n`) });
  process.env.AWS_ENDPOINT_URL = server.endpoint;
  await makeBucket();
  return () => stopServer(server);
}

async function makeBucket(): Promise<void> {
  // The fixture reads the endpoint when it is loaded.
  const { newBucket, rootClients } = await import("./test-account.fixture.ts");
  using clients = rootClients();
  process.env.SILT_TEST_BUCKET = await newBucket(clients);
}
