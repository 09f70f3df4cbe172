/**
 * An HTTP proxy before the API server that fails on purpose. It passes the Host header on as it was
 * signed, for the server verifies the signature against that.
 */
import {
  createServer,
  request as forward,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

export interface SeenRequest {
  readonly method: string;
  /** Without the query, decoded. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  /** How it ended: `left` by the client before it had everything. */
  ended: "open" | "whole" | "failed" | "left";
}

export type Fault =
  /** Answers in the server's place; `code` as S3 words it. */
  | { readonly kind: "answer"; readonly status: number; readonly code: string }
  /** Closes the connection before the server hears of anything. */
  | { readonly kind: "refuse" }
  /** The server does it, and nobody is told. */
  | { readonly kind: "drop-answer" }
  /** Closes the connection after so many bytes of the answer's body. */
  | { readonly kind: "cut-body"; readonly afterBytes: number }
  /** Flips a bit in the middle of the request's body. */
  | { readonly kind: "damage-request" }
  /** Flips a bit in the middle of the answer's body. */
  | { readonly kind: "damage-answer" }
  /** Gives another body in place of the server's. */
  | { readonly kind: "rewrite-answer"; readonly rewrite: (body: string) => string };

/** Decides about each request, after what it does itself; undefined lets it pass. */
export type FaultRule = (request: SeenRequest) => Fault | undefined | Promise<Fault | undefined>;

export interface FaultyProxy extends AsyncDisposable {
  readonly endpoint: string;
  readonly seen: readonly SeenRequest[];
  /** Most requests of the given kind that were under way at the same time. */
  mostAtOnce(matches: (request: SeenRequest) => boolean): number;
  /** Takes the place of the last rule. */
  onRequest(rule: FaultRule): void;
  /** Forgets what was seen. */
  clear(): void;
}

/** A rule for the first `times` requests that match. */
export function firstTimes(
  times: number,
  matches: (request: SeenRequest) => boolean,
  fault: Fault,
): FaultRule {
  let left = times;
  return (request) => (left > 0 && matches(request) && left-- > 0 ? fault : undefined);
}

/** Starts a proxy on a port of this machine's own network. */
export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  let seen: SeenRequest[] = [];
  const overlaps: (readonly SeenRequest[])[] = [];
  let rule: FaultRule = () => undefined;
  const server = createServer((incoming, outgoing) => {
    const request = describe(incoming);
    seen.push(request);
    overlaps.push(seen.filter(({ ended }) => ended === "open"));
    outgoing.once("finish", () => {
      if (request.ended === "open") request.ended = "whole";
    });
    outgoing.once("close", () => {
      if (request.ended === "open") request.ended = "left";
    });
    handle(target, request, incoming, outgoing, (one) => rule(one)).catch(() => {
      if (request.ended === "open") request.ended = "failed";
      outgoing.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    get seen() {
      return seen;
    },
    mostAtOnce: (matches) => Math.max(0, ...overlaps.map((open) => open.filter(matches).length)),
    onRequest(next) {
      rule = next;
    },
    clear() {
      seen = [];
      overlaps.length = 0;
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function describe({ method = "", url = "/", headers }: IncomingMessage): SeenRequest {
  const { pathname, searchParams } = new URL(url, "http://proxy");
  const path = decodeURIComponent(pathname);
  return { method, path, query: searchParams, headers, ended: "open" };
}

async function bytesOf(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function flipBit(bytes: Buffer): Buffer {
  const flipped = Buffer.from(bytes);
  const middle = flipped.byteLength >> 1;
  flipped[middle] = (flipped[middle] ?? 0) ^ 1;
  return flipped;
}

async function handle(
  target: string,
  request: SeenRequest,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  rule: FaultRule,
): Promise<void> {
  const sent = await bytesOf(incoming);
  const fault = await rule(request);
  const fail = () => {
    request.ended = "failed";
    outgoing.destroy();
  };
  if (fault?.kind === "refuse") return fail();
  if (fault?.kind === "answer") {
    const body = `<?xml version="1.0"?><Error><Code>${fault.code}</Code><Message>on purpose</Message></Error>`;
    outgoing.writeHead(fault.status, { "content-type": "application/xml" });
    outgoing.end(request.method === "HEAD" ? undefined : body);
    return;
  }
  const passed = fault?.kind === "damage-request" ? flipBit(sent) : sent;
  const answer = await ask(target, incoming, passed);
  const whole = await bytesOf(answer);
  if (fault?.kind === "drop-answer") return fail();
  if (fault?.kind === "rewrite-answer") {
    const { "content-type": type = "" } = answer.headers;
    outgoing.writeHead(answer.statusCode ?? 0, { "content-type": type });
    outgoing.end(fault.rewrite(whole.toString()));
    return;
  }
  outgoing.writeHead(answer.statusCode ?? 0, answer.rawHeaders);
  if (fault?.kind === "cut-body" && fault.afterBytes < whole.byteLength) {
    // Flushed first, or the client would see no answer at all.
    await new Promise((resolve) => outgoing.write(whole.subarray(0, fault.afterBytes), resolve));
    return fail();
  }
  outgoing.end(fault?.kind === "damage-answer" ? flipBit(whole) : whole);
}

function ask(target: string, incoming: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { method, url, rawHeaders } = incoming;
    const asked = forward(new URL(target), { method, path: url, headers: rawHeaders }, resolve);
    asked.on("error", reject);
    asked.end(body);
  });
}
