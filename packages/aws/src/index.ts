export * from "./aws-clients.ts";
export * from "./aws-error.ts";
