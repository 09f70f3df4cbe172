/** A short version of `npm run kill-test -- --store-kind aws`. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { testPlace } from "../../../packages/silt/src/test-place.fixture.ts";
import { runKills } from "../../proof/kill/kill-run.ts";
import { SLOTS } from "../../proof/kill/slots.ts";
import { createWorld } from "../../proof/kill/world.ts";

const KILLS = 25;
const SEED = 11;
const TEST_MS_MAX = 300_000;

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "silt-kills-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

it("I2 I5 F13 F25 F51 F60 on AWS nothing acknowledged is lost, wrong, there twice or damaged by SIGKILL, and nothing grows", {
  timeout: TEST_MS_MAX,
}, async () => {
  const place = testPlace(root);
  expect(place.location).toMatch(/^s3:/);
  await place.prepare();
  const slots = SLOTS.map(({ name }) => name);
  const world = await createWorld(root, slots, place.location);
  const report = await runKills(world, { kills: KILLS, seed: SEED, lifeMsMax: 2_500 });
  expect(report.wrong).toEqual([]);
  expect(report.kills).toBeGreaterThanOrEqual(KILLS);
  // It tested something: work was done, and cut off in the middle.
  const [reckoning] = report.reckonings;
  expect(reckoning?.operations).toBeGreaterThan(0);
  expect(reckoning?.records).toBeGreaterThan(0);
  expect(reckoning?.growth.versions).toBeGreaterThan(0);
  expect(Object.keys(report.byPhase).length).toBeGreaterThan(KILLS / 4);
});
