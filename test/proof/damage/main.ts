/**
 * `npm run damage-matrix -- [--seed N] [--places N] [--only PATTERN] [--store-kind folder|aws] [--every N]
 * [--write]`: damages everything in every way (on AWS: what is in bucket and table), prints the table, and
 * with --write makes that of a folder docs/DAMAGE.md. Ends with 1 when something was not found, not named,
 * or answered wrong.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { setup } from "../../aws/global-setup.ts";
import { renderMatrix, summary, table } from "./render-matrix.ts";
import { type Failure, type Matrix, type MatrixOptions, runMatrix } from "./run-matrix.ts";
import { becomeUnprivileged } from "./unprivileged.ts";

const PAGE = new URL("../../../docs/DAMAGE.md", import.meta.url);
const FAILURES_SHOWN = 40;

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    places: { type: "string", default: "200" },
    only: { type: "string" },
    every: { type: "string", default: "1" },
    "store-kind": { type: "string", default: "folder" },
    write: { type: "boolean", default: false },
  },
});
const seed = Number(values.seed);
const places = Number(values.places);
const say = (text: string) => process.stdout.write(`${text}\n`);

const options: MatrixOptions = {
  seed,
  places,
  everyAimed: Number(values.every),
  ...(values.only === undefined ? {} : { only: new RegExp(values.only) }),
  onProgress: (kind, done, total) => {
    if (done === total) say(`${kind}: ${total} damages`);
    else if (process.stderr.isTTY) process.stderr.write(`\r${kind}: ${done}/${total} `);
  },
};

async function onFolder(): Promise<Matrix> {
  using _ = becomeUnprivileged();
  return await runMatrix(options);
}

/** On the API server of AWS_ENDPOINT_URL, or on one of its own. */
async function onAws(): Promise<Matrix> {
  const stopServer = await setup();
  // Where it is, is decided by the setup.
  const { runAwsMatrix } = await import("../../aws/damage/run-aws-matrix.ts");
  try {
    return await runAwsMatrix(options);
  } finally {
    await stopServer?.();
  }
}

const matrix = await (values["store-kind"] === "aws" ? onAws() : onFolder());
say("");
say(table(matrix.kinds));
say(summary(matrix));
for (const failure of matrix.failures.slice(0, FAILURES_SHOWN)) say(textOf(failure));
say(`${matrix.failures.length} failures, ${Math.round(matrix.ms / 1000)} s, seed ${seed}`);
if (values.write && values["store-kind"] === "folder") {
  const command = `npm run damage-matrix -- --seed ${seed} --places ${places} --write`;
  writeFileSync(PAGE, renderMatrix(matrix, command));
}
process.exitCode = matrix.failures.length === 0 ? 0 : 1;

function textOf({ kind, damage, where, what }: Failure): string {
  return `FAILED ${kind}, ${damage}, ${where}: ${what.slice(0, 400)}`;
}
