/** A collector whose time is up: it ends at once, and tells what it has deleted. */
import {
  collectShard,
  type ObjectStore,
  type RunLog,
  SiltError,
  updatePolicy,
  verifyStore,
} from "@silt/core";
import { beforeEach, expect, it } from "vitest";
import { put, run } from "./contents.fixture.ts";
import { compact, openWorld, portsWith, type World, write } from "./shard-world.fixture.ts";

/** More than are read ahead. */
const VERSIONS = 20;

let world: World;
/** All but the newest version may go at once. */
beforeEach(async () => {
  world = await openWorld({ strategy: "single" });
  const retention = { versionsKept: 1, versionsKeptMs: 0, deltasKeptMs: null, graceMs: 0 };
  world.policy = await updatePolicy(world.ports, "lines", (policy) => ({ ...policy, retention }));
  for (let version = 1; version <= VERSIONS; version++) {
    await write(world, run([put(`id-${version}`)]));
    await compact(world);
  }
});

const isOfVersion = (key: string) => key.includes("/snapshots/");
const objects = () => [...world.ports.objects.stored.keys()].filter(isOfVersion).sort();

/** One pass that is told to end when `method` first meets an object of a version; such keys go to `seen`. */
function collectUntil(method: "get" | "delete", seen: string[]) {
  const deadline = new AbortController();
  const meet = (key: string) => {
    if (!isOfVersion(key)) return;
    seen.push(key);
    deadline.abort(new Error("time is up"));
  };
  const store: ObjectStore = world.ports.objects;
  const watched: Pick<ObjectStore, "get" | "delete"> = {
    get(key, options) {
      if (method === "get") meet(key);
      return store.get(key, options);
    },
    delete(key) {
      if (method === "delete") meet(key);
      return store.delete(key);
    },
  };
  const ports = portsWith(world, { objects: watched });
  const options = { holder: "collector", delete: true, signal: deadline.signal };
  return collectShard(ports, world.identity, world.shard, options);
}

it("collectShard() reads no more of a long history when it is told to end", async () => {
  const before = objects();
  const seen: string[] = [];
  await expect(collectUntil("get", seen)).rejects.toThrow("time is up");
  expect(seen.length).toBeLessThan(VERSIONS);
  expect(objects()).toEqual(before);
});

it("collectShard() that is told to end while it deletes says what it has deleted", async () => {
  const before = objects();
  const report = await collectUntil("delete", []);
  expect(report.retired).toHaveLength(VERSIONS);
  const gone = before.filter((key) => !objects().includes(key));
  expect(gone).toHaveLength(1);
  expect(report.deleted.map(({ key }) => key)).toEqual(gone);
  await collectShard(world.ports, world.identity, world.shard, { holder: "next", delete: true });
  expect(objects()).toHaveLength(2);
  expect((await verifyStore(world.ports)).problems).toEqual([]);
});

it("collectShard() that is told to end before its second look says what it has given up", async () => {
  const before = objects();
  const deadline = new AbortController();
  const retired: number[] = [];
  const log: Pick<RunLog, "retireVersion"> = {
    async retireVersion(shard, version) {
      const answer = await world.ports.log.retireVersion(shard, version);
      retired.push(version.version);
      if (retired.length === 3) deadline.abort(new Error("time is up"));
      return answer;
    },
  };
  const options = { holder: "collector", delete: true, signal: deadline.signal };
  const report = await collectShard(
    portsWith(world, { log }),
    world.identity,
    world.shard,
    options,
  );
  expect(report).toMatchObject({ retired: [0, 1, 2], deleted: [], abandoned: 0 });
  expect(retired).toEqual([0, 1, 2]);
  expect(objects()).toEqual(before);
});

it("collectShard() whose second look fails for a reason of its own throws, also when it is told to end", async () => {
  const deadline = new AbortController();
  let isGivingUp = false;
  const log: Pick<RunLog, "retireVersion" | "readHead"> = {
    retireVersion(shard, version) {
      isGivingUp = true;
      return world.ports.log.retireVersion(shard, version);
    },
    async readHead(shard) {
      if (!isGivingUp) return world.ports.log.readHead(shard);
      deadline.abort(new Error("time is up"));
      throw new SiltError("corrupt", "the log is damaged");
    },
  };
  const options = { holder: "collector", delete: true, signal: deadline.signal };
  const pass = collectShard(portsWith(world, { log }), world.identity, world.shard, options);
  await expect(pass).rejects.toThrow("the log is damaged");
});
