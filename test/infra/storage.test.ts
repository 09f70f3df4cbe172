import { describe, expect, it } from "vitest";
import { type Properties, synthesize } from "./stack.fixture.ts";

const stack = synthesize();
const buckets = stack.of("AWS::S3::Bucket");

describe("the buckets", () => {
  it("are two, encrypted, closed to the public, without access lists, and kept", () => {
    expect(buckets).toHaveLength(2);
    for (const bucket of buckets) {
      expect(bucket.Properties).toMatchObject({
        PublicAccessBlockConfiguration: {
          BlockPublicAcls: true,
          BlockPublicPolicy: true,
          IgnorePublicAcls: true,
          RestrictPublicBuckets: true,
        },
        OwnershipControls: { Rules: [{ ObjectOwnership: "BucketOwnerEnforced" }] },
      });
      expect(JSON.stringify(bucket.Properties.BucketEncryption)).toContain("AES256");
      expect([bucket.DeletionPolicy, bucket.UpdateReplacePolicy]).toEqual(["Retain", "Retain"]);
    }
  });

  it("refuse what comes without TLS", () => {
    const policies = stack.of("AWS::S3::BucketPolicy").map((policy) => JSON.stringify(policy));
    expect(policies).toHaveLength(2);
    for (const policy of policies) expect(policy).toContain('"aws:SecureTransport":"false"');
  });

  it("never expire a current object, and end what nobody finishes", () => {
    const rules = buckets.flatMap(({ Properties }) => {
      const { Rules } = Properties.LifecycleConfiguration as { Rules: readonly Properties[] };
      return Rules;
    });
    for (const rule of rules) {
      expect(rule.ExpirationInDays ?? rule.ExpirationDate ?? rule.Transitions).toBe(undefined);
    }
    const aborting = rules.filter(
      ({ AbortIncompleteMultipartUpload }) => AbortIncompleteMultipartUpload,
    );
    expect(aborting).toHaveLength(2);
  });

  it("of the store keep overwritten pointers for 30 days", () => {
    const { Properties } = stack.one("AWS::S3::Bucket", "StorageStore");
    expect(Properties.VersioningConfiguration).toEqual({ Status: "Enabled" });
    expect(JSON.stringify(Properties.LifecycleConfiguration)).toContain(
      '"NoncurrentVersionExpiration":{"NoncurrentDays":30}',
    );
  });
});

describe("the table", () => {
  const table = stack.one("AWS::DynamoDB::Table", "StorageLog");

  it("is paid by request, streams new images, can be restored, and is protected", () => {
    expect(table.Properties).toMatchObject({
      KeySchema: [
        { AttributeName: "pk", KeyType: "HASH" },
        { AttributeName: "sk", KeyType: "RANGE" },
      ],
      BillingMode: "PAY_PER_REQUEST",
      StreamSpecification: { StreamViewType: "NEW_IMAGE" },
      PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
      DeletionProtectionEnabled: true,
    });
    expect(table.DeletionPolicy).toBe("Retain");
  });

  it("lets no item expire", () => {
    expect(table.Properties.TimeToLiveSpecification).toBeUndefined();
  });
});

describe("what may be destroyed", () => {
  const short = synthesize({ removal: "destroy" });

  it("is not kept nor protected", () => {
    expect(short.of("AWS::S3::Bucket").map(({ DeletionPolicy }) => DeletionPolicy)).toEqual([
      "Delete",
      "Delete",
    ]);
    const table = short.one("AWS::DynamoDB::Table", "StorageLog");
    expect(table.DeletionPolicy).toBe("Delete");
    expect(table.Properties.DeletionProtectionEnabled).toBe(false);
  });

  it("is emptied by nobody but its owner: the stack has no function for it", () => {
    expect(short.of("AWS::Lambda::Function")).toHaveLength(5);
  });
});

describe("two stacks", () => {
  it("have no physical name in common", () => {
    const names = (stackName: string) =>
      Object.values(synthesize({}, stackName).resources).flatMap(({ Properties }) =>
        [
          "BucketName",
          "TableName",
          "QueueName",
          "FunctionName",
          "RoleName",
          "LogGroupName",
          "AlarmName",
        ]
          .map((name) => Properties?.[name])
          .filter((name) => typeof name === "string"),
      );
    const first = new Set(names("Silt"));
    expect(names("Shop").filter((name) => first.has(name))).toEqual([]);
  });

  it("emit their metrics under service names of their own", () => {
    const services = (stackName: string) =>
      synthesize({}, stackName)
        .of("AWS::Lambda::Function")
        .map(({ Properties }) => {
          const { Variables } = Properties.Environment as { Variables: Properties };
          return Variables.POWERTOOLS_SERVICE_NAME;
        });
    expect(services("Shop")).toContain("Shop-sweep");
    expect(services("Shop").filter((name) => services("Silt").includes(name))).toEqual([]);
  });
});
