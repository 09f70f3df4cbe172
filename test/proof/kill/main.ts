/**
 * `npm run kill-test -- [--kills N] [--seed N] [--minutes M] [--json]`: real processes on one local store,
 * killed with SIGKILL at seeded random moments. Exit code 1 when anything was lost, damaged or wrong;
 * then the world, a folder, is kept to look at.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { formatReport } from "./kill-report.ts";
import { runKills } from "./kill-run.ts";
import { SLOTS } from "./slots.ts";
import { createWorld } from "./world.ts";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "1000" },
    seed: { type: "string" },
    minutes: { type: "string" },
    seats: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
  },
});

const seed = Number(values.seed ?? process.pid);
const root = mkdtempSync(join(tmpdir(), "silt-kills-"));
process.stderr.write(`seed ${seed}, world ${root}\n`);
const world = await createWorld(
  root,
  SLOTS.map(({ name }) => name),
);
const report = await runKills(world, {
  kills: Number(values.kills),
  seed,
  minutes: values.minutes === undefined ? undefined : Number(values.minutes),
  seats: Number(values.seats),
  deep: true,
  onProgress: (text) => process.stderr.write(`${text}\n`),
});
process.stdout.write(values.json ? `${JSON.stringify(report, null, 2)}\n` : formatReport(report));
if (report.wrong.length === 0) rmSync(root, { recursive: true, force: true });
else process.exitCode = 1;
