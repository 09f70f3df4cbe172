/** Asks the `query` function over its URL, as a caller without an SDK does: signed, or not. */
import { createHash, createHmac, randomUUID } from "node:crypto";
import {
  CreateAccessKeyCommand,
  CreateUserCommand,
  PutUserPolicyCommand,
} from "@aws-sdk/client-iam";
import { GetFunctionConfigurationCommand } from "@aws-sdk/client-lambda";
import { REGION } from "../../../localstack/api-server.ts";
import type { DeployedStack } from "./deployed-stack.fixture.ts";

export interface Keys {
  readonly id: string;
  readonly secret: string;
}

export interface UrlAnswer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: answers of all kinds
  readonly json: any;
}

/** Keys of a new user who may ask the function, or may nothing. */
export async function newCaller(
  stack: Pick<DeployedStack, "clients" | "functionOf">,
  { mayAsk }: { readonly mayAsk: boolean },
): Promise<Keys> {
  const { iam, lambda } = stack.clients;
  const UserName = `caller-${randomUUID().slice(0, 8)}`;
  await iam.send(new CreateUserCommand({ UserName }));
  if (mayAsk) {
    const { FunctionArn } = await lambda.send(
      new GetFunctionConfigurationCommand({ FunctionName: stack.functionOf("query").id }),
    );
    const statement = {
      Effect: "Allow",
      Action: "lambda:InvokeFunctionUrl",
      Resource: FunctionArn,
    };
    const PolicyDocument = JSON.stringify({ Version: "2012-10-17", Statement: [statement] });
    await iam.send(new PutUserPolicyCommand({ UserName, PolicyName: "Ask", PolicyDocument }));
  }
  const { AccessKey } = await iam.send(new CreateAccessKeyCommand({ UserName }));
  return { id: AccessKey?.AccessKeyId ?? "", secret: AccessKey?.SecretAccessKey ?? "" };
}

/** Posts a request. The API server has the URL's host as a path. */
export async function askUrl(
  { outputs, server }: Pick<DeployedStack, "outputs" | "server">,
  request: object,
  keys?: Keys,
): Promise<UrlAnswer> {
  const [id = ""] = new URL(outputs.QueryUrl).host.split(".");
  const url = new URL(`/_aws/lambda-url/${id}/`, server.endpoint);
  const body = JSON.stringify(request);
  const headers = keys === undefined ? {} : signed(url, body, keys, new Date());
  const response = await fetch(url, { method: "POST", body, headers });
  const text = await response.text();
  return { status: response.status, json: text.startsWith("{") ? JSON.parse(text) : text };
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const hmac = (key: string | Buffer, text: string) =>
  createHmac("sha256", key).update(text).digest();

/** https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html */
function signed(url: URL, body: string, { id, secret }: Keys, now: Date): Record<string, string> {
  const time = now.toISOString().replace(/[-:]|\.\d{3}/g, "");
  const day = time.slice(0, 8);
  const scope = `${day}/${REGION}/lambda/aws4_request`;
  const names = "host;x-amz-date";
  const canonical = `POST\n${url.pathname}\n\nhost:${url.host}\nx-amz-date:${time}\n\n${names}\n${sha256(body)}`;
  const toSign = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256(canonical)}`;
  const key = ["lambda", "aws4_request"].reduce(hmac, hmac(hmac(`AWS4${secret}`, day), REGION));
  const signature = hmac(key, toSign).toString("hex");
  return {
    "x-amz-date": time,
    authorization: `AWS4-HMAC-SHA256 Credential=${id}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
  };
}
