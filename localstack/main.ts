/** `npm run aws:up | aws:down | aws:deploy | aws:demo`: the stack on an AWS API server of this machine. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { answers, ROOT_ENV } from "./api-server.ts";
import { deployStack, type StackOutputs } from "./deploy.ts";
import { down, ENDPOINT, up } from "./up.ts";

const OUTPUTS = join(import.meta.dirname, "..", ".cache", "aws-outputs.json");

const say = (line: string) => process.stdout.write(`${line}\n`);

async function deploy(): Promise<void> {
  await checkServer();
  const outputs = await deployStack({ endpoint: ENDPOINT, say });
  writeFileSync(OUTPUTS, JSON.stringify(outputs, null, 2));
  say('deployed; "npm run aws:demo" shows it at work');
}

async function demo(): Promise<void> {
  await checkServer();
  if (!existsSync(OUTPUTS)) throw new Error('Nothing is deployed; run "npm run aws:deploy" first');
  Object.assign(process.env, ROOT_ENV, { AWS_ENDPOINT_URL: ENDPOINT });
  const { runDemo } = await import("./demo.ts"); // clients read the environment when they are made
  await runDemo(JSON.parse(readFileSync(OUTPUTS, "utf8")) as StackOutputs, say);
}

async function checkServer(): Promise<void> {
  if (await answers(ENDPOINT)) return;
  throw new Error(`No AWS API server answers on ${ENDPOINT}; run "npm run aws:up" first`);
}

const actions = {
  up: () => up(say),
  down: () => down(say),
  deploy,
  demo,
} as Readonly<Record<string, () => Promise<void>>>;

const [name = ""] = process.argv.slice(2);
const action = actions[name];
if (action === undefined) {
  process.stderr.write(`Unknown action "${name}", expected ${Object.keys(actions).join(", ")}\n`);
  process.exitCode = 2;
} else {
  try {
    await action();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 1;
  }
}
