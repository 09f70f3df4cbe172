/**
 * `npm run bench` runs every benchmark, one process after the other, for memory is measured too;
 * `npm run bench -- search 10000` one of them, with its arguments.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

const BENCHMARKS = ["search", "publish", "compaction", "cold-open", "memory", "ingest"] as const;

const [name, ...rest] = process.argv.slice(2);
const fileOf = (bench: string) => join(import.meta.dirname, `${bench}.ts`);

if (name !== undefined && !existsSync(fileOf(name))) {
  process.stderr.write(`Cannot run benchmark "${name}": expected ${BENCHMARKS.join(", ")}\n`);
  process.exit(2);
}
for (const bench of name === undefined ? BENCHMARKS : [name]) {
  process.stderr.write(`== ${bench}\n`);
  const { status } = spawnSync(process.execPath, [fileOf(bench), ...rest], { stdio: "inherit" });
  if (status !== 0) process.exitCode = 1;
}
