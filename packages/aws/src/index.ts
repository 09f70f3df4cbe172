export * from "./aws-clients.ts";
export * from "./aws-error.ts";
export * from "./s3-object-store.ts";
