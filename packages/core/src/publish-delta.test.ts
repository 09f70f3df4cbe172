import { beforeEach, describe, expect, it } from "vitest";
import { type ObjectRef, sha256Of } from "./formats.ts";
import { deltaKey } from "./object-keys.ts";
import type { Ports, SegmentOwner, Workbench } from "./ports.ts";
import { hashObject, publishDelta, storeImmutable } from "./publish-delta.ts";
import { EMPTY_CONTENT } from "./row.ts";
import { openPointerWorld, type PointerWorld } from "./shard-pointer.fixture.ts";
import { SiltError } from "./silt-error.ts";

const BYTES = new TextEncoder().encode("a bundle");
const SOURCE = { kind: "bytes", bytes: BYTES } as const;
const REF: ObjectRef = {
  key: "x/a.tar",
  bytes: BYTES.length,
  sha256: sha256Of(BYTES),
  codec: "tar",
};

let world: PointerWorld;
beforeEach(async () => {
  world = await openPointerWorld();
});

describe("storeImmutable()", () => {
  it("stores what is absent, and takes what is there with the same hash as its own earlier attempt", async () => {
    const { objects } = world.ports;
    await storeImmutable(objects, REF, SOURCE);
    const first = objects.stored.get(REF.key);
    await storeImmutable(objects, REF, SOURCE);
    expect(objects.stored.get(REF.key)).toBe(first);
  });

  it("F66 never overwrites: other bytes under the key are corrupt and stay", async () => {
    const { objects } = world.ports;
    const other = new TextEncoder().encode("paid for");
    await storeImmutable(
      objects,
      { ...REF, sha256: sha256Of(other) },
      { kind: "bytes", bytes: other },
    );
    await expect(storeImmutable(objects, REF, SOURCE)).rejects.toMatchObject({
      kind: "corrupt",
      message: expect.stringMatching(/reads back with another hash/),
    });
    expect(objects.stored.get(REF.key)?.bytes).toEqual(other);
  });

  it("I1 reads back what it stored: a store that loses or changes it is found at once", async () => {
    const { objects } = world.ports;
    const losing = { ...objects, read: async () => ({ outcome: "absent" }) as const };
    await expect(storeImmutable(losing, REF, SOURCE)).rejects.toThrow(/it was there and is gone/);
    const changing = {
      ...objects,
      async read() {
        const body = (async function* () {
          yield BYTES.map((byte) => byte ^ 1);
        })();
        return { outcome: "found", bytes: BYTES.length, body } as const;
      },
    };
    await expect(storeImmutable(changing, REF, SOURCE)).rejects.toThrow(/another hash/);
  });

  it("a lost answer of the store is unavailable; doing it again finds it done", async () => {
    const { objects } = world.ports;
    const losing: typeof objects = {
      ...objects,
      async put(...args) {
        await objects.put(...args);
        throw new SiltError("unavailable", "Cannot store: the answer was lost");
      },
    };
    await expect(storeImmutable(losing, REF, SOURCE)).rejects.toMatchObject({
      kind: "unavailable",
    });
    await storeImmutable(objects, REF, SOURCE);
    expect(await hashObject(objects, REF.key)).toEqual({ bytes: REF.bytes, sha256: REF.sha256 });
  });
});

describe("hashObject()", () => {
  it("gives undefined for an absent object", async () => {
    expect(await hashObject(world.ports.objects, "none")).toBeUndefined();
  });
});

describe("publishDelta()", () => {
  const owner = (): SegmentOwner => ({
    ...world.shard,
    vectors: [{ name: "default", dimension: 2, encoding: "f32le", metric: "l2", embedder: null }],
  });
  const workbench = {
    buildDelta: async () => ({
      source: SOURCE,
      bytes: REF.bytes,
      sha256: REF.sha256,
      rows: { put: 0, patch: 0, delete: 0 },
      replaced: 0,
    }),
  } as unknown as Workbench;
  const publish = (ports: Ports, options = {}) =>
    publishDelta(ports, workbench, owner(), EMPTY_CONTENT, options);

  it("F17 stores the bundle under a key that contains its run id, and registers nothing", async () => {
    const draft = await publish(world.ports, { source: "file:///x.png", retryOf: 3 });
    expect(draft).toEqual({
      shard: world.shard,
      runId: expect.stringMatching(
        /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      ),
      delta: { ...REF, key: deltaKey(world.shard, draft.runId) },
      rows: { put: 0, patch: 0, delete: 0 },
      replaced: 0,
      source: "file:///x.png",
      retryOf: 3,
    });
    expect(world.ports.objects.stored.has(draft.delta.key)).toBe(true);
    expect(await world.ports.log.readHead(world.shard)).toMatchObject({ sequence: 0 });
  });

  it("gives every delta a run id of its own, in the order of time", async () => {
    const first = await publish(world.ports);
    await world.ports.clock.sleep(1);
    const second = await publish(world.ports);
    expect(second.runId > first.runId).toBe(true);
  });
});
