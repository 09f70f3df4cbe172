/** A real HTTP hop in front of DynamoDB that loses answers or gives its own, as the network and a busy service do. */
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type AwsClients, createAwsClients } from "@silt/aws";
import { ENDPOINT, REGION, ROOT } from "../test-account.fixture.ts";

/** One call as it arrived. */
export interface SeenCall {
  /** E.g. `TransactWriteItems`. */
  readonly operation: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export type Treatment =
  | "pass"
  /** The service acts, and nobody hears of it. */
  | "lose-answer"
  /** The service doesn't hear of it. */
  | "lose-request"
  | { readonly error: string; readonly body?: object };

type Rule = (call: SeenCall, nth: number) => Treatment | Promise<Treatment>;

export interface DynamoProxy extends AsyncDisposable {
  readonly clients: AwsClients;
  readonly seen: readonly SeenCall[];
  /** Decides what happens to a call, and when; `nth` counts the calls of its operation from 1. */
  treat(rule: Rule): void;
}

export async function openDynamoProxy(): Promise<DynamoProxy> {
  const seen: SeenCall[] = [];
  let rule: Rule = () => "pass";
  const server = createServer(async (incoming, answer) => {
    const bytes = Buffer.concat(await incoming.toArray());
    const operation = String(incoming.headers["x-amz-target"]).split(".")[1] ?? "";
    const call = { operation, body: JSON.parse(bytes.toString()) as Record<string, unknown> };
    seen.push(call);
    const nth = seen.filter((one) => one.operation === operation).length;
    const treatment = await rule(call, nth);
    if (treatment === "lose-request") return incoming.socket.destroy();
    if (typeof treatment === "object") return refuse(answer, treatment);
    const { status, headers, body } = await forward(incoming, bytes);
    if (treatment === "lose-answer") return incoming.socket.destroy();
    answer.writeHead(status, headers).end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const endpoint = `http://127.0.0.1:${port}`;
  const clients = createAwsClients({ endpoint, region: REGION, credentials: ROOT });
  return {
    clients,
    seen,
    treat(next) {
      rule = next;
    },
    async [Symbol.asyncDispose]() {
      clients[Symbol.dispose]();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function refuse(answer: ServerResponse, { error, body = {} }: { error: string; body?: object }) {
  const type = "application/x-amz-json-1.0";
  answer.writeHead(400, { "content-type": type, "x-amzn-errortype": error });
  answer.end(JSON.stringify({ __type: error, message: `${error} by the test`, ...body }));
}

/** With the headers as they came: the signature covers the host that the client meant. */
async function forward(incoming: IncomingMessage, bytes: Buffer) {
  const { method, url = "/", headers } = incoming;
  const sent = request(new URL(url, ENDPOINT), { ...(method && { method }), headers });
  sent.end(bytes);
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  const body = Buffer.concat(await answer.toArray());
  const { "transfer-encoding": _chunked, ...rest } = answer.headers;
  return { status: answer.statusCode ?? 500, headers: rest, body };
}
