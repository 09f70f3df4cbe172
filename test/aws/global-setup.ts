/**
 * The API server of a run of these tests: MiniStack with IAM enforced, on a port of its own, ended
 * afterwards. With AWS_ENDPOINT_URL set, the one that it names.
 */
import { ROOT_ENV, startMinistack, stopServer } from "../../localstack/api-server.ts";

export async function setup(): Promise<(() => Promise<void>) | undefined> {
  Object.assign(process.env, ROOT_ENV);
  if (process.env.AWS_ENDPOINT_URL !== undefined) return undefined;
  const server = await startMinistack({ say: (line) => process.stderr.write(`${line}\n`) });
  process.env.AWS_ENDPOINT_URL = server.endpoint;
  return () => stopServer(server);
}
