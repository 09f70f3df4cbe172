/**
 * `npm run kill-test -- [--kills N] [--seed N] [--minutes M] [--store-kind folder|aws] [--json]`: real
 * processes on one store, killed with SIGKILL at seeded random moments. On AWS that is the API server
 * of AWS_ENDPOINT_URL, or one of its own. Exit code 1 when anything was lost, damaged or wrong; then the
 * world, a folder, is kept to look at.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { setup } from "../../aws/global-setup.ts";
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
    "store-kind": { type: "string", default: "folder" },
    json: { type: "boolean", default: false },
  },
});

const seed = Number(values.seed ?? process.pid);
const root = mkdtempSync(join(tmpdir(), "silt-kills-"));
process.stderr.write(`seed ${seed}, world ${root}\n`);
const stopServer = values["store-kind"] === "aws" ? await setup() : undefined;
// Where it is, is decided by the setup.
const { testPlace } = await import("../../../packages/silt/src/test-place.fixture.ts");
const place = testPlace(root);
await place.prepare();
const slots = SLOTS.map(({ name }) => name);
const world = await createWorld(root, slots, place.location);
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
await stopServer?.();
