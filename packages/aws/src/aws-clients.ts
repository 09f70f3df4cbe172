import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { S3Client } from "@aws-sdk/client-s3";
import { SQSClient } from "@aws-sdk/client-sqs";
import { NodeHttpHandler } from "@smithy/node-http-handler";

/** Region, credentials and endpoint come from where every AWS tool has them, unless given here. */
export interface AwsClientOptions {
  readonly region?: string | undefined;
  /** E.g. `http://127.0.0.1:4566`; default: the service's own, or `AWS_ENDPOINT_URL`. */
  readonly endpoint?: string | undefined;
  readonly credentials?:
    | {
        readonly accessKeyId: string;
        readonly secretAccessKey: string;
        readonly sessionToken?: string;
      }
    | undefined;
}

export interface AwsClients extends Disposable {
  readonly s3: S3Client;
  readonly dynamo: DynamoDBClient;
  readonly sqs: SQSClient;
}

/** Tries of one request by the SDK, the first included: throttled and lost ones, with jittered pauses. */
const ATTEMPTS_MAX = 5;
const CONNECT_MS_MAX = 5_000;
/** Of silence on a connection: S3 may take long over a large body, the others answer in milliseconds. */
const S3_SILENCE_MS_MAX = 30_000;
const SILENCE_MS_MAX = 10_000;
const SOCKETS_MAX = 128;

/** The clients that one open store shares; dispose them to close their connections. */
export function createAwsClients(options: AwsClientOptions = {}): AwsClients {
  const { region, endpoint, credentials } = options;
  const config = {
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
    ...(credentials !== undefined && { credentials }),
    maxAttempts: ATTEMPTS_MAX,
  };
  const handler = (socketTimeout: number) =>
    new NodeHttpHandler({
      connectionTimeout: CONNECT_MS_MAX,
      socketTimeout,
      httpAgent: { maxSockets: SOCKETS_MAX, keepAlive: true },
      httpsAgent: { maxSockets: SOCKETS_MAX, keepAlive: true },
    });
  const s3 = new S3Client({ ...config, requestHandler: handler(S3_SILENCE_MS_MAX) });
  const dynamo = new DynamoDBClient({ ...config, requestHandler: handler(SILENCE_MS_MAX) });
  const sqs = new SQSClient({ ...config, requestHandler: handler(SILENCE_MS_MAX) });
  return {
    s3,
    dynamo,
    sqs,
    [Symbol.dispose]() {
      for (const client of [s3, dynamo, sqs]) client.destroy();
    },
  };
}
