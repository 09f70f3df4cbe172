/**
 * The one place where errors of the AWS SDK become SiltErrors. Expected answers (a failed condition,
 * a missing key) are told apart by the adapters before they come here; nothing here means "absent".
 */
import { reasonOf, SiltError, type SiltErrorKind } from "@silt/core";

/** What errors of the SDK, of Node's sockets and of its files have in common. */
interface SdkError {
  readonly name?: unknown;
  readonly Code?: unknown;
  readonly code?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $retryable?: { readonly throttling?: boolean };
  /** Beside an answer that could not be read, e.g. the page of a proxy. */
  readonly $response?: unknown;
}

const NOT_LOGGED_IN = [
  "CredentialsProviderError",
  "TokenProviderError",
  "ExpiredToken",
  "ExpiredTokenException",
  "InvalidAccessKeyId",
  "InvalidClientTokenId",
  "InvalidSecurity",
  "InvalidSignatureException",
  "InvalidToken",
  "MissingAuthenticationToken",
  "MissingAuthenticationTokenException",
  "SignatureDoesNotMatch",
  "TokenRefreshRequired",
  "UnrecognizedClient",
  "UnrecognizedClientException",
];
const DENIED = [
  "AccessDenied",
  "AccessDeniedException",
  "AccountProblem",
  "AllAccessDisabled",
  "Forbidden",
  "KmsAccessDenied",
  "NotAuthorized",
  "OptInRequired",
  "UnauthorizedAccess",
];
const WRONG_CLOCK = ["RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"];
const WRONG_REGION = [
  "AuthorizationHeaderMalformed",
  "IllegalLocationConstraintException",
  "PermanentRedirect",
];
const NO_BUCKET = ["NoSuchBucket"];
const NO_TABLE = ["ResourceNotFoundException", "TableNotFoundException"];
const NO_QUEUE = [
  "AWS.SimpleQueueService.NonExistentQueue",
  "NonExistentQueue",
  "QueueDoesNotExist",
];
const DAMAGED = [
  "BadDigest",
  "InvalidDigest",
  "XAmzContentChecksumMismatch",
  "XAmzContentSHA256Mismatch",
];
/** How the SDK says that the body of an answer has another checksum than its headers. */
const DAMAGED_ON_ARRIVAL = /^Checksum mismatch: /;
const NO_REGION = /^Region is missing/;
const BUSY = [
  "BandwidthLimitExceeded",
  "ConditionalRequestConflict",
  "IncompleteBody",
  "InternalError",
  "InternalServerError",
  "KmsThrottled",
  "LimitExceededException",
  "NoSuchUpload",
  "OperationAborted",
  "OverLimit",
  "ProvisionedThroughputExceededException",
  "RequestLimitExceeded",
  "RequestThrottled",
  "RequestThrottledException",
  "RequestTimeout",
  "RequestTimeoutException",
  "ServiceUnavailable",
  "SlowDown",
  "ThrottledException",
  "Throttling",
  "ThrottlingException",
  "TimeoutError",
  "TooManyRequests",
  "TransactionConflictException",
  "TransactionInProgressException",
];
/** How Node names sockets, names, certificates and files that failed: always the environment. */
const SYSTEM_CODE =
  /^(?:E[A-Z0-9]+|EAI_\w+|HPE_\w+|ERR_(?:SSL|TLS)_\w+|ERR_STREAM_(?:PREMATURE_CLOSE|DESTROYED)|(?:CERT|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO)_\w+)$/;
const HTTP_REDIRECT = 300;
const HTTP_MOVED = 301;
const HTTP_UNAUTHORIZED = 401;
const HTTP_FORBIDDEN = 403;
const HTTP_TIMEOUT = 408;
const HTTP_TOO_MANY = 429;
const HTTP_SERVER = 500;

/** The status of an answer; undefined when none came. */
export function statusOf(error: unknown): number | undefined {
  return (error as SdkError | null)?.$metadata?.httpStatusCode;
}

/** What the service calls the failure, e.g. `NoSuchKey`; the class of an error that is none of AWS. */
export function nameOf(error: unknown): string {
  const { name, Code } = (error ?? {}) as SdkError;
  // An answer without a body has a code only as its status; the SDK then says "Unknown".
  const said = typeof Code === "string" && (name === undefined || name === "Error") ? Code : name;
  return typeof said === "string" ? said : "Error";
}

/** True when the service gave the failure one of these names. */
export function hasName(error: unknown, ...names: readonly string[]): boolean {
  return names.includes(nameOf(error));
}

/** The service knows who asks and refuses, or doesn't accept (or find) the credentials. */
export function isDenied(error: unknown): boolean {
  const status = statusOf(error);
  if (hasName(error, ...WRONG_CLOCK)) return false;
  return (
    hasName(error, ...DENIED, ...NOT_LOGGED_IN) ||
    status === HTTP_UNAUTHORIZED ||
    status === HTTP_FORBIDDEN
  );
}

/** The service answered, and would answer the same again: 3xx and 4xx but for the busy ones. */
export function isRefusal(error: unknown): boolean {
  const status = statusOf(error) ?? 0;
  return status >= HTTP_REDIRECT && status < HTTP_SERVER && !isTransient(error);
}

/** Nobody is known to the service: none was asked as, or credentials that are wrong or too old. */
export function isNotLoggedIn(error: unknown): boolean {
  return hasName(error, ...NOT_LOGGED_IN) || statusOf(error) === HTTP_UNAUTHORIZED;
}

/** Throttled, timed out, cut off, or a failure of the service: the same call may succeed later. */
export function isTransient(error: unknown): boolean {
  const { code, $retryable, $response } = (error ?? {}) as SdkError;
  const status = statusOf(error) ?? 0;
  if (hasName(error, ...BUSY, "AbortError") || $retryable?.throttling === true) return true;
  if (status >= HTTP_SERVER || status === HTTP_TIMEOUT || status === HTTP_TOO_MANY) return true;
  if (typeof code === "string" && SYSTEM_CODE.test(code)) return true;
  // An answer that is no answer of AWS; with another status it is one, and tells of a bug.
  return $response !== undefined && status < HTTP_REDIRECT;
}

/**
 * What a failed call means to the caller: `unavailable` for denied, throttled and cut off, `invalid`
 * for a bucket, table, queue or region that is not there, `corrupt` for bytes that came damaged,
 * `internal` for a request that should never have been made. A SiltError passes unchanged.
 */
export function awsError(action: string, subject: string, cause: unknown): SiltError {
  if (cause instanceof SiltError) return cause;
  const { kind, state } = meaningOf(cause);
  const details = isDenied(cause) ? { denied: true } : undefined;
  return new SiltError(kind, `Cannot ${action} "${subject}": ${state}`, {
    cause,
    ...(details && { details }),
  });
}

/**
 * Runs calls of the SDK and throws what `awsError()` makes of their failures. When `signal` ended
 * them, its reason is thrown as it is.
 */
export async function callAws<Result>(
  action: string,
  subject: string,
  call: () => Promise<Result>,
  signal?: AbortSignal,
): Promise<Result> {
  try {
    signal?.throwIfAborted();
    return await call();
  } catch (error) {
    if (signal?.aborted && (hasName(error, "AbortError") || error === signal.reason)) {
      throw signal.reason;
    }
    throw awsError(action, subject, error);
  }
}

/** Kind and state of a failed call, for whoever words the message around it. */
export function meaningOf(error: unknown): {
  readonly kind: SiltErrorKind;
  readonly state: string;
} {
  const said = `${nameOf(error)}: ${reasonOf(error)}`;
  const named = (names: readonly string[]) => hasName(error, ...names);
  const meaning = (kind: SiltErrorKind, state: string) => ({ kind, state });
  if (named(DAMAGED) || DAMAGED_ON_ARRIVAL.test(reasonOf(error))) {
    return meaning("corrupt", `what arrived is not what was sent (${said})`);
  }
  if (named(NO_BUCKET)) return meaning("invalid", missing("bucket", said));
  if (named(NO_TABLE)) return meaning("invalid", missing("table", said));
  if (named(NO_QUEUE)) return meaning("invalid", missing("queue", said));
  const elsewhere = named(WRONG_REGION) || statusOf(error) === HTTP_MOVED;
  if (elsewhere || NO_REGION.test(reasonOf(error))) {
    const state = `the region is missing or wrong (${said}); set AWS_REGION to where it lies`;
    return meaning("invalid", state);
  }
  if (named(WRONG_CLOCK)) {
    const state = `this machine's clock is wrong (${said}); set it and try again`;
    return meaning("unavailable", state);
  }
  if (isNotLoggedIn(error)) {
    const state = `no valid credentials (${said}); log in (aws sso login, aws configure) or give others`;
    return meaning("unavailable", state);
  }
  if (named(["InvalidObjectState"])) {
    const state = `it is archived (${said}); restore it to a class that can be read`;
    return meaning("unavailable", state);
  }
  if (isDenied(error)) return meaning("unavailable", `access denied (${said}); ${grantOf(said)}`);
  if (isTransient(error)) return meaning("unavailable", `${said}; try again`);
  return meaning("internal", said);
}

function missing(what: string, said: string): string {
  return `the ${what} is not there (${said}), expected one in this region and account; check its name, AWS_REGION and the credentials`;
}

/** AWS mostly says which action on which resource it refused. */
function grantOf(said: string): string {
  const refused = /perform: ([\w-]+:\w+)(?: on resource: "?([^\s"]+))?/.exec(said);
  if (refused === null) return "grant this identity the action, or use another one";
  const [, action, resource] = refused;
  return `grant ${action}${resource === undefined ? "" : ` on ${resource}`} to this identity`;
}
