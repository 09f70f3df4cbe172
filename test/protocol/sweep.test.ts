/** The sweep of a shard that nobody writes to: deleted data goes there, too. */
import { collectShard, snapshotsPrefix, sweepShard } from "@silt/core";
import { beforeEach, describe, expect, it } from "vitest";
import { gone, put, run } from "./contents.fixture.ts";
import {
  compact,
  contentOf,
  expectSound,
  manifestOf,
  openWorld,
  TIERS,
  type World,
  write,
} from "./shard-world.fixture.ts";

const AGE_MS = 7 * 24 * 3_600_000;

let world: World;
/** The oldest segment holds `secret`, the second deletes it. */
beforeEach(async () => {
  world = await openWorld({ ...TIERS, tombstoneAgeMs: AGE_MS });
  await write(world, run([put("secret"), ...Array.from({ length: 20 }, (_, n) => put(`id-${n}`))]));
  await compact(world);
  await write(world, run([gone("secret")]));
  await compact(world);
  expect(await segments()).toHaveLength(2);
});

const segments = async () => (await manifestOf(world)).segments;
const sweep = () =>
  sweepShard(world.ports, world.shard, {
    hintAfterMs: 60_000,
    stuckAfterMs: 3_600_000,
    compaction: world.policy.compaction,
  });

/** An object of an attempt at the next version, which somebody left. */
function leaveAttempt(version: number): string {
  const key = `${snapshotsPrefix(world.shard)}${version}-0123456789abcdef/manifest.json`;
  const bytes = new TextEncoder().encode("{}");
  world.ports.objects.stored.set(key, { bytes, etag: "x", modifiedAtMs: world.clock.nowMs() });
  return key;
}

describe("sweepShard()", () => {
  it("F62 hints at an idle shard once its tombstones are due, until what they hid is gone", async () => {
    world.clock.jump(AGE_MS - 60_000);
    expect(await sweep()).toMatchObject({ hinted: false, pending: 0 });
    expect(await world.ports.hints.receive(9)).toEqual([]);
    world.clock.jump(60_000);
    expect(await sweep()).toMatchObject({ hinted: true, pending: 0, stuck: null });
    expect(await world.ports.hints.receive(9)).toMatchObject([{ shard: "0-of-1" }]);
    expect(await compact(world)).toMatchObject({ outcome: "flipped", rowsOut: 20 });
    expect((await contentOf(world)).rows.has("secret")).toBe(false);
    expect(await sweep()).toMatchObject({ hinted: false });
    await expectSound(world);
  });

  it("says how the shard is doing", async () => {
    world.clock.jump(5_000);
    const { excluded, secondsSinceFlip } = await sweep();
    expect([excluded, secondsSinceFlip]).toEqual([0, 5]);
  });
});

describe("a fence", () => {
  it("I8 of the collector merges nothing, though a rewrite is due", async () => {
    const before = await segments();
    const left = leaveAttempt(3);
    world.clock.jump(AGE_MS);
    const options = { holder: "collector", delete: true };
    await collectShard(world.ports, world.identity, world.shard, options);
    world.clock.jump(world.policy.retention.graceMs);
    const report = await collectShard(world.ports, world.identity, world.shard, options);
    expect(report).toMatchObject({ fenced: true });
    expect(report.deleted.map(({ key }) => key)).toContain(left);
    expect(await segments()).toEqual(before);
    expect(await sweep()).toMatchObject({ version: 3, hinted: true });
    await expectSound(world);
  });
});
