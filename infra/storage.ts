import { Duration, RemovalPolicy, Validations } from "aws-cdk-lib";
import {
  AttributeType,
  BillingMode,
  StreamViewType,
  Table,
  TableEncryption,
} from "aws-cdk-lib/aws-dynamodb";
import {
  BlockPublicAccess,
  Bucket,
  BucketEncryption,
  type BucketProps,
  ObjectOwnership,
} from "aws-cdk-lib/aws-s3";
import { Construct } from "constructs";

export interface Storage {
  /** Bundles, segments, manifests, pointers. */
  readonly store: Bucket;
  /** Pictures. A bucket of its own: what Silt writes must never trigger Silt. */
  readonly uploads: Bucket;
  /** The run log: runs, heads, leases, guards, pins. */
  readonly table: Table;
}

export interface StorageOptions {
  readonly removal: "retain" | "destroy";
  /** Refuses requests without TLS; an API server on this machine has none. */
  readonly requireTls: boolean;
}

/** Parts of multipart uploads whose writer died; no upload of a segment takes a day. */
const ABORT_MULTIPART_AFTER = Duration.days(1);
/** How long an operator can take back what he overwrote or deleted by hand. */
const NONCURRENT_KEPT = Duration.days(30);

/** Buckets and table. No rule expires a current object or item: only Silt's collector deletes. */
export function addStorage(scope: Construct, options: StorageOptions): Storage {
  const place = new Construct(scope, "Storage");
  const destroy = options.removal === "destroy";
  const removalPolicy = destroy ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN;
  const bucket: BucketProps = {
    encryption: BucketEncryption.S3_MANAGED,
    enforceSSL: options.requireTls,
    blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
    objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
    // Also what may be destroyed has to be emptied first, by hand: no function exists that could.
    removalPolicy,
  };
  const store = new Bucket(place, "Store", {
    ...bucket,
    // Keys are never used again and only pointers and policies are overwritten, so that versions
    // cost next to nothing; they bring back what an operator deletes or overwrites by mistake.
    versioned: true,
    lifecycleRules: [
      {
        abortIncompleteMultipartUploadAfter: ABORT_MULTIPART_AFTER,
        noncurrentVersionExpiration: NONCURRENT_KEPT,
        expiredObjectDeleteMarker: true,
      },
    ],
  });
  const uploads = new Bucket(place, "Uploads", {
    ...bucket,
    // Not versioned: the protocol reads the newest picture only, and old ones would cost their
    // full size. What replaced pictures should stay somewhere is the uploader's own decision.
    versioned: false,
    lifecycleRules: [{ abortIncompleteMultipartUploadAfter: ABORT_MULTIPART_AFTER }],
  });
  const table = new Table(place, "Log", {
    partitionKey: { name: "pk", type: AttributeType.STRING },
    sortKey: { name: "sk", type: AttributeType.STRING },
    billingMode: BillingMode.PAY_PER_REQUEST,
    stream: StreamViewType.NEW_IMAGE,
    encryption: TableEncryption.DEFAULT,
    pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
    // No time to live: an item that goes by itself could be a run that is still pending.
    deletionProtection: !destroy,
    removalPolicy,
  });
  for (const each of [store, uploads]) {
    Validations.of(each).acknowledge({
      id: "AwsSolutions-S1",
      reason:
        "Access logs would cost more than an idle store and need a bucket of their own; CloudTrail data events give the same where they are wanted",
    });
  }
  return { store, uploads, table };
}
