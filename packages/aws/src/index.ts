export * from "./aws-clients.ts";
export * from "./aws-error.ts";
export * from "./dynamo-lease-store.ts";
export * from "./dynamo-run-log.ts";
export * from "./s3-object-store.ts";
export * from "./s3-source-bucket.ts";
export * from "./sqs-hint.ts";
export * from "./sqs-hint-queue.ts";
