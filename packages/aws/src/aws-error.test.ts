import { DynamoDBServiceException, ResourceNotFoundException } from "@aws-sdk/client-dynamodb";
import { NoSuchBucket, S3ServiceException } from "@aws-sdk/client-s3";
import { QueueDoesNotExist } from "@aws-sdk/client-sqs";
import { SiltError } from "@silt/core";
import { describe, expect, it } from "vitest";
import { awsError, callAws, hasName, isDenied } from "./aws-error.ts";

const s3Error = (name: string, httpStatusCode: number, message = "what S3 says") =>
  new S3ServiceException({ name, message, $fault: "client", $metadata: { httpStatusCode } });
const nodeError = (code: string) => Object.assign(new Error(`connect ${code}`), { code });
const kindOf = (error: unknown) => awsError("store", "a/b", error).kind;

describe("awsError", () => {
  it("names what was refused, and what to grant", () => {
    const refused =
      'User: arn:aws:iam::1:user/x is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::b/a" because no policy allows it';
    const denied = s3Error("AccessDenied", 403, refused);
    const error = awsError("store", "a/b", denied);
    expect(error).toMatchObject({ kind: "unavailable", cause: denied });
    expect(error.message).toContain('Cannot store "a/b": access denied');
    expect(error.message).toContain("grant s3:PutObject on arn:aws:s3:::b/a to this identity");
    expect(isDenied(s3Error("Unknown", 403))).toBe(true);
    expect(kindOf(s3Error("Unknown", 403))).toBe("unavailable");
  });

  it.each([
    "ExpiredToken",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "CredentialsProviderError",
  ])("tells whoever has no valid credentials to log in: %s", (name) => {
    const error = awsError("store", "a/b", s3Error(name, 403));
    expect(error.kind).toBe("unavailable");
    expect(error.message).toContain("log in");
  });

  it.each([
    s3Error("SlowDown", 503),
    s3Error("RequestTimeout", 400),
    s3Error("Unknown", 500),
    s3Error("Unknown", 429),
    s3Error("ConditionalRequestConflict", 409),
    nodeError("ECONNRESET"),
    nodeError("ENOTFOUND"),
    nodeError("EAI_AGAIN"),
    nodeError("ENOSPC"),
    nodeError("SELF_SIGNED_CERT_IN_CHAIN"),
    nodeError("ERR_SSL_WRONG_VERSION_NUMBER"),
    nodeError("HPE_INVALID_CONSTANT"),
    nodeError("ERR_STREAM_PREMATURE_CLOSE"),
    Object.assign(new Error("slow"), { name: "TimeoutError" }),
    new DynamoDBServiceException({
      name: "ProvisionedThroughputExceededException",
      message: "slow down",
      $fault: "client",
      $metadata: { httpStatusCode: 400 },
    }),
  ])("says that what is throttled, cut off or down may be tried again: %s", (cause) => {
    expect(awsError("store", "a/b", cause)).toMatchObject({ kind: "unavailable", cause });
    expect(awsError("store", "a/b", cause).message).toContain("try again");
  });

  it("takes a bucket, table or queue that is not there for a mistake of the operator", () => {
    const given = { message: "none", $metadata: { httpStatusCode: 404 } };
    for (const [what, cause] of [
      ["bucket", new NoSuchBucket(given)],
      ["table", new ResourceNotFoundException(given)],
      ["queue", new QueueDoesNotExist(given)],
    ] as const) {
      const error = awsError("open", "x", cause);
      expect(error).toMatchObject({ kind: "invalid", cause });
      expect(error.message).toContain(`the ${what} is not there`);
    }
    expect(kindOf(s3Error("PermanentRedirect", 301))).toBe("invalid");
    expect(kindOf(s3Error("Unknown", 301))).toBe("invalid");
    expect(kindOf(new Error("Region is missing"))).toBe("invalid");
  });

  it("F31 takes a refused checksum for damage", () => {
    expect(kindOf(s3Error("BadDigest", 400))).toBe("corrupt");
    expect(kindOf(s3Error("XAmzContentChecksumMismatch", 400))).toBe("corrupt");
  });

  it("takes any other refusal, and what is no error of AWS, for a bug", () => {
    expect(kindOf(s3Error("InvalidArgument", 400))).toBe("internal");
    expect(kindOf(s3Error("NoSuchKey", 404))).toBe("internal");
    expect(kindOf(new TypeError("x is not a function"))).toBe("internal");
    expect(kindOf(nodeError("ERR_INVALID_ARG_TYPE"))).toBe("internal");
    expect(kindOf("thrown text")).toBe("internal");
    expect(kindOf(undefined)).toBe("internal");
  });

  it("passes a SiltError unchanged", () => {
    const fenced = new SiltError("fenced", "Cannot go on");
    expect(awsError("store", "a/b", fenced)).toBe(fenced);
  });
});

describe("callAws", () => {
  it("gives the result, and translates a failure", async () => {
    expect(await callAws("read", "a", async () => 7)).toBe(7);
    const failing = callAws("read", "a", () => Promise.reject(s3Error("SlowDown", 503)));
    await expect(failing).rejects.toMatchObject({ name: "SiltError", kind: "unavailable" });
  });

  it("throws the signal's reason when the signal ended the call", async () => {
    const reason = new SiltError("fenced", "Cannot go on: the lease is lost");
    const aborting = new AbortController();
    const call = callAws(
      "read",
      "a",
      async () => {
        aborting.abort(reason);
        throw Object.assign(new Error("Request aborted"), { name: "AbortError" });
      },
      aborting.signal,
    );
    await expect(call).rejects.toBe(reason);
    await expect(callAws("read", "a", async () => 7, aborting.signal)).rejects.toBe(reason);
  });
});

describe("hasName", () => {
  it("knows what the service calls a failure", () => {
    expect(hasName(s3Error("NoSuchKey", 404), "NotFound", "NoSuchKey")).toBe(true);
    expect(hasName(undefined, "NoSuchKey")).toBe(false);
  });
});
