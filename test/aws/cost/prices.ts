/**
 * Public prices of us-east-1 in US dollars, as published on the services' pricing pages in November 2026
 * (aws.amazon.com/{s3,dynamodb,sqs,lambda}/pricing), without free tiers.
 */
import type { AwsUsage } from "@silt/aws";

const MILLION = 1_000_000;

const PRICES = {
  s3PutOrList: 0.005 / 1_000,
  s3Get: 0.0004 / 1_000,
  dynamoWriteUnit: 0.625 / MILLION,
  dynamoReadUnit: 0.125 / MILLION,
  sqsRequest: 0.4 / MILLION,
  lambdaRequest: 0.2 / MILLION,
  /** On arm64. */
  lambdaGbSecond: 0.0000133334,
} as const;

const S3_FREE = ["DeleteObject", "DeleteObjects", "AbortMultipartUpload"];
const S3_GETS = ["GetObject", "HeadObject"];

/** What calls cost; transfer within the region is free. */
export function dollarsOf(usage: readonly AwsUsage[]): number {
  return usage.reduce((sum, { service, operation, requests, readUnits, writeUnits }) => {
    if (service === "sqs") return sum + requests * PRICES.sqsRequest;
    if (service === "dynamodb") {
      return sum + readUnits * PRICES.dynamoReadUnit + writeUnits * PRICES.dynamoWriteUnit;
    }
    if (S3_FREE.includes(operation)) return sum;
    return sum + requests * (S3_GETS.includes(operation) ? PRICES.s3Get : PRICES.s3PutOrList);
  }, 0);
}

/** What invocations cost beside the calls they make. */
export function lambdaDollars(invocations: number, gbSeconds: number): number {
  return invocations * PRICES.lambdaRequest + gbSeconds * PRICES.lambdaGbSecond;
}
