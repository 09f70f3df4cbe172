/** Buckets, tables and queues of the API server that the suite talks to, one of each for each store. */
import { randomUUID } from "node:crypto";
import { CreateTableCommand, DeleteTableCommand } from "@aws-sdk/client-dynamodb";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { CreateQueueCommand } from "@aws-sdk/client-sqs";
import { type AwsClients, createAwsClients } from "@silt/aws";

/** Where the server of this run listens; the project's global setup sets it. */
export const ENDPOINT = process.env.AWS_ENDPOINT_URL ?? "http://127.0.0.1:4566";
export const REGION = "us-east-1";
/** The account's root user; the server takes any key for it. */
export const ROOT = { accessKeyId: "test", secretAccessKey: "test" };

/** Clients as the account's root user. */
export function rootClients(): AwsClients {
  return createAwsClients({ endpoint: ENDPOINT, region: REGION, credentials: ROOT });
}

const uniqueName = (kind: string) => `silt-test-${kind}-${randomUUID().slice(0, 13)}`;

/** Makes an empty bucket and answers its name. */
export async function newBucket({ s3 }: AwsClients): Promise<string> {
  const Bucket = uniqueName("bucket");
  await s3.send(new CreateBucketCommand({ Bucket }));
  return Bucket;
}

/** Makes an empty log table, with the keys that the CDK app gives it, and answers its name. */
export async function newTable(
  { dynamo }: AwsClients,
  TableName = uniqueName("table"),
): Promise<string> {
  await dynamo.send(
    new CreateTableCommand({
      TableName,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: [
        { AttributeName: "pk", AttributeType: "S" },
        { AttributeName: "sk", AttributeType: "S" },
      ],
      KeySchema: [
        { AttributeName: "pk", KeyType: "HASH" },
        { AttributeName: "sk", KeyType: "RANGE" },
      ],
      StreamSpecification: { StreamEnabled: true, StreamViewType: "NEW_IMAGE" },
    }),
  );
  return TableName;
}

export async function dropTable({ dynamo }: AwsClients, TableName: string): Promise<void> {
  await dynamo.send(new DeleteTableCommand({ TableName }));
}

/** Makes an empty standard queue and answers its name. */
export async function newQueue({ sqs }: AwsClients): Promise<string> {
  const QueueName = uniqueName("queue");
  await sqs.send(new CreateQueueCommand({ QueueName }));
  return QueueName;
}
