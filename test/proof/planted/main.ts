/**
 * `npm run planted [-- --only REGEX] [--json]`: breaks a copy of the sources, bug by bug, and shows what
 * catches each and what it took. Exit code 1 when one is not caught.
 */
import { parseArgs } from "node:util";
import type { Catcher } from "./bug.ts";
import { PLANTED_BUGS } from "./bugs.ts";
import { copyTree, TOP } from "./copied-tree.ts";
import { type Caught, runCatcher } from "./run-catcher.ts";

const { values } = parseArgs({
  options: { only: { type: "string", default: "." }, json: { type: "boolean", default: false } },
});
const only = new RegExp(values.only, "i");
const bugs = PLANTED_BUGS.filter(({ name, caughtBy }) => only.test(`${name} ${caughtBy.by}`));

const byOf = (catcher: Catcher): string =>
  catcher.by === "tests"
    ? catcher.what
    : catcher.by === "explorer"
      ? `explorer, ${catcher.configuration}`
      : catcher.by;

using tree = copyTree();
const results: (Caught & { readonly name: string; readonly by: string })[] = [];
for (const { name, harm, edits, caughtBy } of bugs) {
  tree.plant({ name, harm, edits, caughtBy });
  const result = { name, by: byOf(caughtBy), ...(await runCatcher(caughtBy, tree.root, TOP)) };
  tree.undo();
  results.push(result);
  const { by, caught, took, seconds } = result;
  if (values.json) continue;
  process.stdout.write(
    `| ${name} | ${by} | ${caught ? "caught" : "**MISSED**"} | ${took} | ${seconds} s |\n`,
  );
}
const missed = results.filter(({ caught }) => !caught);
if (values.json) process.stdout.write(`${JSON.stringify({ results })}\n`);
else
  process.stdout.write(
    `${results.length - missed.length} of ${results.length} planted bugs were caught\n`,
  );
if (missed.length > 0 || results.length === 0) process.exitCode = 1;
