/** What goes wrong around a deployed stack, and how it is put right again. */
import { readdirSync, readFileSync } from "node:fs";
import {
  DeleteRolePolicyCommand,
  GetRolePolicyCommand,
  ListRolePoliciesCommand,
  PutRolePolicyCommand,
} from "@aws-sdk/client-iam";
import {
  type EventSourceMappingConfiguration,
  ListEventSourceMappingsCommand,
  UpdateEventSourceMappingCommand,
  type UpdateEventSourceMappingRequest,
  UpdateFunctionConfigurationCommand,
} from "@aws-sdk/client-lambda";
import {
  DeleteMessageCommand,
  PurgeQueueCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
} from "@aws-sdk/client-sqs";
import type { FunctionName } from "../../../infra/silt-function.ts";
import type { DeadQueueName, DeployedStack, QueueName } from "./deployed-stack.fixture.ts";

interface Statement {
  readonly Effect: string;
  readonly Action: string | readonly string[];
  readonly Resource: string | readonly string[];
}

interface PolicyDocument {
  readonly Version: string;
  readonly Statement: readonly Statement[];
}

const listOf = <T>(value: T | readonly T[]): readonly T[] =>
  Array.isArray(value) ? value : [value as T];

/** Takes actions out of a role's statements, on resources that hold `on`, and puts them back after `work`. */
export async function withoutGrant(
  stack: Pick<DeployedStack, "clients" | "functionOf">,
  name: FunctionName,
  { actions, on }: { readonly actions: readonly string[]; readonly on: string },
  work: () => Promise<void>,
): Promise<void> {
  const { iam } = stack.clients;
  const { role } = stack.functionOf(name);
  const { PolicyNames = [] } = await iam.send(new ListRolePoliciesCommand({ RoleName: role }));
  const originals = new Map<string, string>();
  let taken = 0;
  for (const PolicyName of PolicyNames) {
    const got = await iam.send(new GetRolePolicyCommand({ RoleName: role, PolicyName }));
    const text = decodeURIComponent(got.PolicyDocument ?? "");
    const document = JSON.parse(text) as PolicyDocument;
    const kept = document.Statement.flatMap((statement) => {
      const resources = Map.groupBy(listOf(statement.Resource), (each) => each.includes(on));
      const left = listOf(statement.Action).filter((action) => !actions.includes(action));
      const meant = resources.get(true) ?? [];
      if (meant.length > 0) taken += listOf(statement.Action).length - left.length;
      return [
        { ...statement, Resource: resources.get(false) ?? [] },
        { ...statement, Resource: meant, Action: left },
      ];
    }).filter(({ Action, Resource }) => Action.length > 0 && Resource.length > 0);
    originals.set(PolicyName, text);
    await putPolicy(PolicyName, JSON.stringify({ ...document, Statement: kept }));
  }
  if (taken === 0) throw new Error(`Role "${role}" was never granted ${actions} on ${on}`);
  try {
    await work();
  } finally {
    for (const [name, text] of originals) await putPolicy(name, text);
  }

  async function putPolicy(PolicyName: string, document: string): Promise<void> {
    await iam.send(
      new PutRolePolicyCommand({ RoleName: role, PolicyName, PolicyDocument: document }),
    );
  }
}

/** Denies a role an action for the time of `work`, whatever it is granted. */
export async function withDenied(
  stack: Pick<DeployedStack, "clients" | "functionOf">,
  name: FunctionName,
  { action, resource }: { readonly action: string; readonly resource: string },
  work: () => Promise<void>,
): Promise<void> {
  const { iam } = stack.clients;
  const policy = { RoleName: stack.functionOf(name).role, PolicyName: "Denied" };
  const statement = { Effect: "Deny", Action: action, Resource: resource };
  const PolicyDocument = JSON.stringify({ Version: "2012-10-17", Statement: [statement] });
  await iam.send(new PutRolePolicyCommand({ ...policy, PolicyDocument }));
  try {
    await work();
  } finally {
    await iam.send(new DeleteRolePolicyCommand(policy));
  }
}

/** Nothing starts a function by itself for the time of `work`. */
export async function withEventSourceOff(
  stack: Pick<DeployedStack, "clients" | "functionOf">,
  name: FunctionName,
  work: () => Promise<void>,
): Promise<void> {
  await changeEventSources(stack, name, { Enabled: false });
  try {
    await work();
  } finally {
    await changeEventSources(stack, name, { Enabled: true });
  }
}

/** Records of a stream are given up after so long for the time of `work`. */
export async function withRecordAge(
  stack: Pick<DeployedStack, "clients" | "functionOf">,
  name: FunctionName,
  seconds: number,
  work: () => Promise<void>,
): Promise<void> {
  const changed = await changeEventSources(stack, name, { MaximumRecordAgeInSeconds: seconds });
  const [before] = changed;
  if (before?.MaximumRecordAgeInSeconds === undefined) {
    throw new Error(`Records of "${name}" were never given up by their age`);
  }
  try {
    await work();
  } finally {
    const { MaximumRecordAgeInSeconds } = before;
    await changeEventSources(stack, name, { MaximumRecordAgeInSeconds });
  }
}

/** Answers what they were before. */
async function changeEventSources(
  stack: Pick<DeployedStack, "clients" | "functionOf">,
  name: FunctionName,
  change: Pick<UpdateEventSourceMappingRequest, "Enabled" | "MaximumRecordAgeInSeconds">,
): Promise<readonly EventSourceMappingConfiguration[]> {
  const { lambda } = stack.clients;
  const { EventSourceMappings = [] } = await lambda.send(
    new ListEventSourceMappingsCommand({ FunctionName: stack.functionOf(name).id }),
  );
  for (const { UUID } of EventSourceMappings) {
    await lambda.send(new UpdateEventSourceMappingCommand({ UUID, ...change }));
  }
  return EventSourceMappings;
}

/** A function with another limit, or more environment, for the time of `work`. */
export async function withConfiguration(
  stack: Pick<DeployedStack, "clients" | "functionOf">,
  name: FunctionName,
  change: {
    readonly timeoutSeconds: number;
    readonly environment?: Readonly<Record<string, string>>;
  },
  work: () => Promise<void>,
): Promise<void> {
  const { lambda } = stack.clients;
  const FunctionName = stack.functionOf(name).id;
  const { Timeout, Environment } = await lambda.send(
    new UpdateFunctionConfigurationCommand({ FunctionName }),
  );
  const Variables = { ...Environment?.Variables };
  await lambda.send(
    new UpdateFunctionConfigurationCommand({
      FunctionName,
      Timeout: change.timeoutSeconds,
      Environment: { Variables: { ...Variables, ...change.environment } },
    }),
  );
  try {
    await work();
  } finally {
    await lambda.send(
      new UpdateFunctionConfigurationCommand({ FunctionName, Timeout, Environment: { Variables } }),
    );
  }
}

/** Processes of this stack's server that run a function. */
export function processesOf(
  stack: Pick<DeployedStack, "server" | "functionOf">,
  name: FunctionName,
): readonly number[] {
  const variable = `AWS_LAMBDA_FUNCTION_NAME=${stack.functionOf(name).id}`;
  const gateway = `GATEWAY_PORT=${new URL(stack.server.endpoint).port}`;
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      const environment = environmentOf(pid);
      return environment.includes(variable) && environment.includes(gateway);
    })
    .map(Number);
}

/** Empty for a process that is gone, or somebody else's. */
function environmentOf(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  } catch {
    return [];
  }
}

/** How long a message that was taken is hidden; of messages that are taken from now on. */
export async function hideFor(
  stack: Pick<DeployedStack, "clients" | "queueUrl">,
  queue: QueueName,
  seconds: number,
): Promise<void> {
  await stack.clients.sqs.send(
    new SetQueueAttributesCommand({
      QueueUrl: stack.queueUrl(queue),
      Attributes: { VisibilityTimeout: String(seconds) },
    }),
  );
}

export async function purge(
  stack: Pick<DeployedStack, "clients" | "queueUrl">,
  queue: QueueName | DeadQueueName,
): Promise<void> {
  await stack.clients.sqs.send(new PurgeQueueCommand({ QueueUrl: stack.queueUrl(queue) }));
}

const MOVED_MAX = 1_000;

/** Dead letters go back to where they came from, as `StartMessageMoveTask` does it, which the server lacks. */
export async function redrive(
  stack: Pick<DeployedStack, "clients" | "queueUrl">,
  queue: QueueName,
): Promise<readonly string[]> {
  const { sqs } = stack.clients;
  const [from, to] = [stack.queueUrl(`${queue}Dead`), stack.queueUrl(queue)];
  const moved: string[] = [];
  while (moved.length < MOVED_MAX) {
    const { Messages = [] } = await sqs.send(
      new ReceiveMessageCommand({ QueueUrl: from, MaxNumberOfMessages: 10 }),
    );
    if (Messages.length === 0) return moved;
    for (const { Body = "", ReceiptHandle } of Messages) {
      await sqs.send(new SendMessageCommand({ QueueUrl: to, MessageBody: Body }));
      await sqs.send(new DeleteMessageCommand({ QueueUrl: from, ReceiptHandle }));
      moved.push(Body);
    }
  }
  return moved;
}
