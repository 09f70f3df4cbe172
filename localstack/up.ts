/** `aws:up` and `aws:down`: one AWS API server on 127.0.0.1:4566, and only what was started here is stopped. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type ApiServer, answers, isRunning, startMinistack, stopServer } from "./api-server.ts";

const PORT = 4566;
export const ENDPOINT = `http://127.0.0.1:${PORT}`;
const STATE = join(import.meta.dirname, "..", ".cache", "aws-server.json");
const COMPOSE_FILE = join(import.meta.dirname, "docker-compose.yml");

type Started =
  | { readonly kind: "ministack"; readonly server: ApiServer }
  | { readonly kind: "docker" };

/** Uses the server that is there, else LocalStack where docker runs, else MiniStack. */
export async function up(say: (line: string) => void): Promise<void> {
  if (await answers(ENDPOINT)) {
    const whose = existsSync(STATE) ? "" : ", started by somebody else: aws:down leaves it alone";
    say(`an AWS API server answers on ${ENDPOINT}${whose}`);
    return;
  }
  if (hasDocker()) {
    compose("up", "--detach", "--wait");
    remember({ kind: "docker" });
    say(`LocalStack answers on ${ENDPOINT}`);
    return;
  }
  const server = await startMinistack({ port: PORT, detached: true, say });
  remember({ kind: "ministack", server });
  say(`MiniStack answers on ${ENDPOINT}, IAM enforced; log: ${server.log}`);
}

/** Stops what `up` started. */
export async function down(say: (line: string) => void): Promise<void> {
  if (!existsSync(STATE)) {
    say("nothing to stop: no server was started from here");
    return;
  }
  const started = JSON.parse(readFileSync(STATE, "utf8")) as Started;
  if (started.kind === "docker") compose("down");
  // After a restart of the machine the number may be another process's: it must answer, too.
  else if (isRunning(started.server.pid) && (await answers(started.server.endpoint))) {
    await stopServer(started.server);
  }
  rmSync(STATE);
  say("stopped");
}

function remember(started: Started): void {
  mkdirSync(dirname(STATE), { recursive: true });
  writeFileSync(STATE, JSON.stringify(started));
}

function hasDocker(): boolean {
  return spawnSync("docker", ["info"], { stdio: "ignore", timeout: 10_000 }).status === 0;
}

function compose(...args: string[]): void {
  const { status } = spawnSync("docker", ["compose", "--file", COMPOSE_FILE, ...args], {
    stdio: "inherit",
  });
  if (status !== 0) throw new Error(`"docker compose ${args.join(" ")}" ended with code ${status}`);
}
