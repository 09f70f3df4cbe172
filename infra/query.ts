import { Duration } from "aws-cdk-lib";
import { type FunctionUrl, FunctionUrlAuthType } from "aws-cdk-lib/aws-lambda";
import type { Construct } from "constructs";
import { queryStatements } from "./grants.ts";
import type { SharedCache } from "./network.ts";
import { addFunction, type FunctionSettings, type SiltFunction } from "./silt-function.ts";
import type { Storage } from "./storage.ts";

export interface Querying {
  readonly query: SiltFunction;
  readonly url: FunctionUrl;
}

/** Of a first answer: a cold start that fetches segments. Warm ones take milliseconds. */
const QUERY_TIMEOUT = Duration.seconds(60);

/** Of the disk: a segment is fetched before others leave, and files that are open keep their room. */
const CACHE_SHARE = 0.5;
const MIB = 1024 * 1024;

/** Answers queries as JSON, over a URL that takes signed requests only. */
export function addQuery(
  scope: Construct,
  settings: FunctionSettings,
  storage: Storage,
  options: { readonly diskMb: number; readonly cache: SharedCache | undefined },
): Querying {
  const { diskMb, cache } = options;
  const query = addFunction(scope, "query", settings, {
    timeout: QUERY_TIMEOUT,
    statements: [...queryStatements(storage), ...(cache?.statements ?? [])],
    diskMb,
    environment:
      cache === undefined
        ? { SILT_CACHE_BYTES: String(diskMb * MIB * CACHE_SHARE) }
        : { SILT_CACHE: cache.folder },
    ...(cache && { network: cache.network }),
  });
  const url = query.lambda.addFunctionUrl({ authType: FunctionUrlAuthType.AWS_IAM });
  return { query, url };
}
