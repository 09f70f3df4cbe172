/** Deploys the CDK app to an AWS API server of this machine, as a user deploys it to AWS. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { ACCOUNT, REGION, ROOT_ENV } from "./api-server.ts";

const TOP = join(import.meta.dirname, "..");
const DEFAULT_STACK = "Silt";

/** What the stack says of itself when it is deployed. */
export interface StackOutputs {
  readonly StoreLocation: string;
  readonly UploadsBucket: string;
  readonly QueryUrl: string;
  readonly [name: string]: string;
}

export interface DeployOptions {
  readonly endpoint: string;
  readonly stack?: string;
  /** Props of the app, e.g. `{ compactionWindowSeconds: "1" }`. */
  readonly context?: Readonly<Record<string, string>>;
  /** Told what cdk says, line by line. */
  readonly say?: (line: string) => void;
}

/** Bootstraps and deploys. Throws with the end of what cdk said when it fails. */
export async function deployStack(options: DeployOptions): Promise<StackOutputs> {
  const { stack = DEFAULT_STACK, context = {} } = options;
  mkdirSync(join(TOP, ".cache"), { recursive: true });
  const folder = mkdtempSync(join(tmpdir(), "silt-deploy-"));
  try {
    const outputs = join(folder, "outputs.json");
    // Each function that runs is a process of this machine.
    const all = { local: "true", stackName: stack, ingestConcurrency: "2", ...context };
    const props = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const common = ["--output", join(folder, "cdk.out"), ...props];
    await cdk(["bootstrap", `aws://${ACCOUNT}/${REGION}`, ...common], options);
    await cdk(
      ["deploy", stack, "--require-approval", "never", "--outputs-file", outputs, ...common],
      options,
    );
    return JSON.parse(readFileSync(outputs, "utf8"))[stack] as StackOutputs;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const SAID_LINES_MAX = 30;

function cdk(args: readonly string[], { endpoint, say = () => {} }: DeployOptions): Promise<void> {
  const env = {
    ...process.env,
    ...ROOT_ENV,
    PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
    AWS_ENDPOINT_URL: endpoint,
    CDK_DEFAULT_ACCOUNT: ACCOUNT,
    CDK_DEFAULT_REGION: REGION,
    CDK_DISABLE_VERSION_CHECK: "1",
    CDK_CLI_TELEMETRY: "0",
  };
  const command = join(TOP, "node_modules", ".bin", "cdk");
  const child = spawn(command, [...args, "--ci"], { cwd: TOP, env });
  const said: string[] = [];
  let rest = "";
  const take = (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines.filter((text) => text.trim() !== "")) {
      say(line);
      said.push(line);
      if (said.length > SAID_LINES_MAX) said.shift();
    }
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve();
      else reject(new Error(`"cdk ${args[0]}" ended with code ${code}:\n${said.join("\n")}`));
    });
  });
}
