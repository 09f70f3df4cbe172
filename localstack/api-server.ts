/** AWS API servers as processes of this machine: MiniStack, and LocalStack without docker. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ensureVenv } from "./python-venv.ts";

export const ACCOUNT = "000000000000";
export const REGION = "us-east-1";
/** What the servers take for the account's root user. */
export const ROOT_ENV = {
  AWS_ACCESS_KEY_ID: "test",
  AWS_SECRET_ACCESS_KEY: "test",
  AWS_REGION: REGION,
  AWS_DEFAULT_REGION: REGION,
} as const;

/** Those that the stack and its tests use. */
const SERVICES =
  "s3,sqs,dynamodb,lambda,iam,sts,cloudformation,logs,cloudwatch,events,scheduler,ssm,ecr,xray,sns,kms,ec2,efs,secretsmanager";
const START_MS_MAX = 60_000;
const STOP_MS_MAX = 5_000;
const POLL_MS = 100;

export interface ApiServer {
  readonly endpoint: string;
  readonly pid: number;
  /** Where it, and the functions it runs, write. */
  readonly log: string;
  readonly folder: string;
}

export interface StartOptions {
  /** Default: one that is free. */
  readonly port?: number;
  /** IAM is enforced (default), or everybody may do everything. */
  readonly enforceIam?: boolean;
  /** It lives on when this process ends. */
  readonly detached?: boolean;
  readonly say?: (line: string) => void;
}

/** Starts MiniStack and waits until it answers. Functions run as local processes on this Node. */
export async function startMinistack(options: StartOptions = {}): Promise<ApiServer> {
  const { enforceIam = true, say = () => {} } = options;
  const venv = ensureVenv("ministack", say);
  const port = options.port ?? (await freePort());
  return startServer({
    ...options,
    port,
    command: join(venv.bin, "ministack"),
    args: [],
    env: (folder) => ({
      // The functions run on the first `node`, the custom resources of CDK on the first `python3`.
      PATH: [dirname(process.execPath), venv.bin, process.env.PATH].join(delimiter),
      BIND_HOST: "127.0.0.1",
      GATEWAY_PORT: String(port),
      EDGE_PORT: String(port),
      // The functions inherit it: they must talk to their own server, whatever else runs here.
      AWS_ENDPOINT_URL: `http://127.0.0.1:${port}`,
      SERVICES,
      AUTH: String(enforceIam),
      S3_DATA_DIR: join(folder, "s3"),
      STATE_DIR: join(folder, "state"),
      TMPDIR: join(folder, "tmp"),
    }),
  });
}

/** Starts LocalStack from PyPI in host mode, for S3 and SQS: what else it needs, it downloads. */
export async function startLocalstack(options: StartOptions = {}): Promise<ApiServer> {
  const { say = () => {} } = options;
  const venv = ensureVenv("localstack", say);
  const port = options.port ?? (await freePort());
  return startServer({
    ...options,
    port,
    command: join(venv.bin, "python"),
    args: ["-m", "localstack.runtime.main"],
    env: (folder) => ({
      PATH: [venv.bin, process.env.PATH].join(delimiter),
      GATEWAY_LISTEN: `127.0.0.1:${port}`,
      SERVICES: "s3,sqs,iam,sts",
      DISABLE_EVENTS: "1",
      SKIP_SSL_CERT_DOWNLOAD: "1",
      FILESYSTEM_ROOT: join(folder, "localstack"),
      TMPDIR: join(folder, "tmp"),
    }),
  });
}

/** Ends a server that was started here, and the functions it runs. */
export async function stopServer({ pid, folder }: ApiServer): Promise<void> {
  if (signalGroup(pid, "SIGTERM")) {
    const deadline = Date.now() + STOP_MS_MAX;
    while (isRunning(pid) && Date.now() < deadline) await sleep(POLL_MS);
    signalGroup(pid, "SIGKILL");
  }
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}

/** True when an AWS API server of a known kind answers there. */
export async function answers(endpoint: string): Promise<boolean> {
  try {
    const response = await fetch(`${endpoint}/_localstack/health`, {
      signal: AbortSignal.timeout(2_000),
    });
    return response.ok;
  } catch {
    return false;
  }
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

interface ServerPlan extends StartOptions {
  readonly port: number;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: (folder: string) => Readonly<Record<string, string>>;
}

async function startServer(plan: ServerPlan): Promise<ApiServer> {
  const folder = mkdtempSync(join(tmpdir(), "silt-aws-"));
  mkdirSync(join(folder, "tmp"));
  const log = join(folder, "server.log");
  const output = openSync(log, "a");
  const child = spawn(plan.command, plan.args, {
    cwd: folder,
    env: { ...process.env, ...ROOT_ENV, ...plan.env(folder) },
    stdio: ["ignore", output, output],
    detached: true, // a group of its own, so that the functions end with it
  });
  const endpoint = `http://127.0.0.1:${plan.port}`;
  const { pid } = child;
  if (pid === undefined) throw new Error(`Cannot start "${plan.command}": it does not run`);
  if (plan.detached === true) child.unref();
  const server = { endpoint, pid, log, folder };
  try {
    await waitUntilItAnswers(child, server);
  } catch (error) {
    await stopServer({ ...server, folder: join(folder, "tmp") }); // its log stays
    throw error;
  }
  return server;
}

async function waitUntilItAnswers(child: ChildProcess, server: ApiServer): Promise<void> {
  const deadline = Date.now() + START_MS_MAX;
  while (!(await answers(server.endpoint))) {
    if (child.exitCode !== null) {
      throw new Error(`The API server ended with code ${child.exitCode}; see ${server.log}`);
    }
    if (Date.now() > deadline) {
      throw new Error(
        `The API server did not answer within ${START_MS_MAX / 1000} s; see ${server.log}`,
      );
    }
    await sleep(POLL_MS);
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() =>
        typeof address === "object" && address !== null ? resolve(address.port) : reject(address),
      );
    });
  });
}

/** False when the process group is gone already. */
function signalGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch {
    return false;
  }
}
