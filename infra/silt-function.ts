import { type Duration, type RemovalPolicy, Size, Validations } from "aws-cdk-lib";
import { PolicyStatement, Role, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import {
  Architecture,
  type Code,
  type FunctionProps,
  Function as LambdaFunction,
  Runtime,
  Tracing,
} from "aws-cdk-lib/aws-lambda";
import { LogGroup, type RetentionDays } from "aws-cdk-lib/aws-logs";
import { Construct } from "constructs";

export const FUNCTION_NAMES = ["ingest", "dispatch", "compact", "sweep", "query"] as const;
export type FunctionName = (typeof FUNCTION_NAMES)[number];

/** What is the same for all functions of a stack. */
export interface FunctionSettings {
  readonly code: (name: FunctionName) => Code;
  readonly architecture: "arm64" | "x86_64";
  /** Starts the service names, so that metrics of two stacks in one account stay apart. */
  readonly stackName: string;
  readonly removalPolicy: RemovalPolicy;
  readonly logRetention: RetentionDays;
  readonly memoryMb: Readonly<Record<FunctionName, number>>;
  readonly environment: Readonly<Record<string, string>>;
}

export interface FunctionOptions {
  readonly timeout: Duration;
  readonly statements: readonly PolicyStatement[];
  readonly diskMb?: number;
  readonly environment?: Readonly<Record<string, string>>;
  /** Network and file system of functions that need them. */
  readonly network?: Pick<FunctionProps, "vpc" | "vpcSubnets" | "securityGroups" | "filesystem">;
}

export interface SiltFunction {
  readonly name: FunctionName;
  readonly lambda: LambdaFunction;
  readonly role: Role;
  readonly timeout: Duration;
}

/** Of /tmp, which every function has at no cost. */
const DISK_MB_DEFAULT = 512;

export const METRICS_NAMESPACE = "Silt";

/** The `service` dimension of a function's own metrics. */
export const serviceName = (stackName: string, name: FunctionName): string =>
  `${stackName}-${name}`;

/**
 * One function with its log group and a role that holds what it needs and nothing else: the managed
 * policies that CDK would attach allow writing to every log group of the account.
 */
export function addFunction(
  scope: Construct,
  name: FunctionName,
  settings: FunctionSettings,
  options: FunctionOptions,
): SiltFunction {
  const place = new Construct(scope, name[0]?.toUpperCase() + name.slice(1));
  const logGroup = new LogGroup(place, "Logs", {
    retention: settings.logRetention,
    removalPolicy: settings.removalPolicy,
  });
  const role = new Role(place, "Role", { assumedBy: new ServicePrincipal("lambda.amazonaws.com") });
  logGroup.grantWrite(role);
  for (const statement of options.statements) role.addToPolicy(statement);
  const lambda = new LambdaFunction(place, "Function", {
    code: settings.code(name),
    handler: "index.handler",
    runtime: Runtime.NODEJS_24_X,
    architecture: settings.architecture === "arm64" ? Architecture.ARM_64 : Architecture.X86_64,
    role,
    logGroup,
    memorySize: settings.memoryMb[name],
    timeout: options.timeout,
    ephemeralStorageSize: Size.mebibytes(options.diskMb ?? DISK_MB_DEFAULT),
    tracing: Tracing.ACTIVE,
    environment: {
      POWERTOOLS_SERVICE_NAME: serviceName(settings.stackName, name),
      POWERTOOLS_METRICS_NAMESPACE: METRICS_NAMESPACE,
      ...settings.environment,
      ...options.environment,
    },
    ...options.network,
  });
  Validations.of(role).acknowledge({
    id: "AwsSolutions-IAM5[Resource::*]",
    reason: "X-Ray's actions (and, in a VPC, those on network interfaces) know no resources",
  });
  return { name, lambda, role, timeout: options.timeout };
}

export function allow(actions: readonly string[], resources: readonly string[]): PolicyStatement {
  return new PolicyStatement({ actions: [...actions], resources: [...resources] });
}
