import type { RemovalPolicy } from "aws-cdk-lib";
import {
  FlowLogDestination,
  FlowLogTrafficType,
  GatewayVpcEndpointAwsService,
  type IVpc,
  Peer,
  Port,
  SecurityGroup,
  SubnetType,
  Vpc,
} from "aws-cdk-lib/aws-ec2";
import { type AccessPoint, FileSystem as Efs, ThroughputMode } from "aws-cdk-lib/aws-efs";
import { PolicyStatement } from "aws-cdk-lib/aws-iam";
import { FileSystem } from "aws-cdk-lib/aws-lambda";
import { LogGroup, type RetentionDays } from "aws-cdk-lib/aws-logs";
import { Construct } from "constructs";
import type { FunctionOptions } from "./silt-function.ts";

/** A folder that all instances of a function see: segments are fetched once for all of them. */
export interface SharedCache {
  readonly folder: string;
  readonly network: NonNullable<FunctionOptions["network"]>;
  readonly statements: readonly PolicyStatement[];
}

const MOUNT = "/mnt/silt";
const ZONES_MAX = 2;
const NFS_PORT = 2049;
const HTTPS_PORT = 443;
/** Of the cache's files; any but root's will do. */
const CACHE_USER = "1000";

/** The actions of AWS's managed policy for functions in a VPC, which know no resources. */
const inVpc = () =>
  new PolicyStatement({
    actions: [
      "ec2:CreateNetworkInterface",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSubnets",
      "ec2:DeleteNetworkInterface",
      "ec2:AssignPrivateIpAddresses",
      "ec2:UnassignPrivateIpAddresses",
    ],
    resources: ["*"],
  });

function addNetwork(
  place: Construct,
  retention: RetentionDays,
  removalPolicy: RemovalPolicy,
): IVpc {
  const vpc = new Vpc(place, "Vpc", {
    maxAzs: ZONES_MAX,
    // No gateway to the internet, which would cost more than all the rest: readers talk to S3 and
    // DynamoDB, and both have endpoints that cost nothing.
    natGateways: 0,
    restrictDefaultSecurityGroup: false,
    subnetConfiguration: [{ name: "Isolated", subnetType: SubnetType.PRIVATE_ISOLATED }],
    gatewayEndpoints: {
      S3: { service: GatewayVpcEndpointAwsService.S3 },
      Dynamo: { service: GatewayVpcEndpointAwsService.DYNAMODB },
    },
  });
  vpc.addFlowLog("FlowLog", {
    trafficType: FlowLogTrafficType.REJECT,
    destination: FlowLogDestination.toCloudWatchLogs(
      new LogGroup(place, "FlowLogs", { retention, removalPolicy }),
    ),
  });
  // The class and its interface differ in optional properties only, which the compiler minds.
  return vpc as IVpc;
}

function addFiles(place: Construct, vpc: IVpc, removalPolicy: RemovalPolicy): AccessPoint {
  const files = new Efs(place, "Files", {
    vpc,
    vpcSubnets: { subnetType: SubnetType.PRIVATE_ISOLATED },
    encrypted: true,
    throughputMode: ThroughputMode.ELASTIC,
    allowAnonymousAccess: false,
    removalPolicy,
  });
  return files.addAccessPoint("Cache", {
    path: "/cache",
    createAcl: { ownerUid: CACHE_USER, ownerGid: CACHE_USER, permissions: "750" },
    posixUser: { uid: CACHE_USER, gid: CACHE_USER },
  });
}

/** A private network with a file system, for the readers' cache. What is on it can be lost. */
export function addSharedCache(
  scope: Construct,
  options: { readonly removalPolicy: RemovalPolicy; readonly logRetention: RetentionDays },
): SharedCache {
  const place = new Construct(scope, "SharedCache");
  const vpc = addNetwork(place, options.logRetention, options.removalPolicy);
  const access = addFiles(place, vpc, options.removalPolicy);
  const files = access.fileSystem as Efs;
  const group = new SecurityGroup(place, "Readers", {
    vpc,
    description: "Silt readers: file system, S3 and DynamoDB",
    allowAllOutbound: false,
  });
  group.addEgressRule(Peer.anyIpv4(), Port.tcp(HTTPS_PORT), "S3 and DynamoDB, by their endpoints");
  group.addEgressRule(Peer.ipv4(vpc.vpcCidrBlock), Port.tcp(NFS_PORT), "The cache");
  files.connections.allowDefaultPortFrom(group);
  return {
    folder: `${MOUNT}/segments`,
    statements: [inVpc()],
    network: {
      vpc,
      vpcSubnets: { subnetType: SubnetType.PRIVATE_ISOLATED },
      securityGroups: [group],
      filesystem: FileSystem.fromEfsAccessPoint(access, MOUNT),
    },
  };
}
