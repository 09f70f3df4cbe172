import { beforeEach, describe, expect, it } from "vitest";
import { ANCESTORS_MAX, encodeJson, type Pointer, seal } from "./formats.ts";
import { manifestKey, pointerKey } from "./object-keys.ts";
import {
  forcePointer,
  openPointerWorld,
  type PointerWorld,
  pointerAfter,
  portsWithFlip,
} from "./shard-pointer.fixture.ts";
import { SiltError } from "./silt-error.ts";
import {
  findManifest,
  flipPointer,
  judgeFlip,
  type ReadPointer,
  readManifest,
  readPointer,
} from "./snapshot-pointer.ts";

let world: PointerWorld;
let base: ReadPointer;
let next: Pointer;
beforeEach(async () => {
  world = await openPointerWorld();
  base = await readPointer(world.ports.objects, world.shard);
  next = pointerAfter(base.pointer, "ours");
});

const current = async () => (await readPointer(world.ports.objects, world.shard)).pointer;
const lostAnswer = () => new SiltError("unavailable", "Cannot store: the answer was lost");
/** `count` more versions by others on top of `pointer`. */
const followedBy = (pointer: Pointer, count: number): Pointer => {
  let last = pointer;
  for (let index = 1; index <= count; index++) last = pointerAfter(last, `other-${index}`);
  return last;
};

describe("judgeFlip()", () => {
  it("F1 our commit in the pointer is committed", () => {
    expect(judgeFlip(next, base.pointer, next)).toEqual({ outcome: "committed" });
  });

  it("F49 our commit among the ancestors is committed, however many flipped on top of it", () => {
    for (const count of [1, 2, ANCESTORS_MAX]) {
      const seen = followedBy(next, count);
      expect(judgeFlip(seen, base.pointer, next)).toEqual({ outcome: "committed" });
    }
  });

  it("F5 our version older than the ring is unknown: committed or not, nobody can tell", () => {
    const onOurs = followedBy(next, ANCESTORS_MAX + 1);
    const onTheirs = followedBy(pointerAfter(base.pointer, "theirs"), ANCESTORS_MAX + 1);
    for (const seen of [onOurs, onTheirs]) {
      expect(judgeFlip(seen, base.pointer, next)).toEqual({ outcome: "unknown" });
    }
  });

  it("F3 F49 another commit at our version is lost, at the top or below", () => {
    const theirs = pointerAfter(base.pointer, "theirs");
    for (const seen of [theirs, followedBy(theirs, 3)]) {
      expect(judgeFlip(seen, base.pointer, next)).toEqual({ outcome: "lost", to: seen });
    }
  });

  it("F2 the base still there is not yet", () => {
    expect(judgeFlip(base.pointer, base.pointer, next)).toEqual({ outcome: "not-yet" });
  });

  it("F6 F9 a pointer from before the base is unknown, never ours to write over", () => {
    const later = pointerAfter(base.pointer, "later");
    const onLater = pointerAfter(later, "ours");
    expect(judgeFlip(base.pointer, later, onLater)).toEqual({ outcome: "unknown" });
  });

  it("F6 the same version made by another commit is no base", () => {
    const [one, other] = ["one", "other"].map((id) => pointerAfter(base.pointer, id)) as [
      Pointer,
      Pointer,
    ];
    expect(judgeFlip(other, one, pointerAfter(one, "ours"))).toEqual({ outcome: "unknown" });
  });
});

describe("flipPointer()", () => {
  it("commits on the base it was computed from", async () => {
    expect(await flipPointer(world.ports, world.shard, base, next)).toEqual({
      outcome: "committed",
    });
    expect(await current()).toEqual(next);
  });

  it("I4 exactly one of many flips on one base wins, all others lose to it", async () => {
    const rivals = Array.from({ length: 20 }, (_, index) =>
      pointerAfter(base.pointer, `rival-${index}`),
    );
    const outcomes = await Promise.all(
      rivals.map((rival) => flipPointer(world.ports, world.shard, base, rival)),
    );
    const winner = await current();
    for (const [index, outcome] of outcomes.entries()) {
      const won = rivals[index]?.commitId === winner.commitId;
      expect(outcome).toEqual(won ? { outcome: "committed" } : { outcome: "lost", to: winner });
    }
  });

  it("F1 a flip whose answer was lost is committed, also when a repetition meets 412", async () => {
    const answers = [
      async () => {
        throw lostAnswer();
      },
      async () => ({ outcome: "condition-failed" }) as const,
    ];
    for (const answer of answers) {
      world = await openPointerWorld();
      base = await readPointer(world.ports.objects, world.shard);
      next = pointerAfter(base.pointer, "ours");
      const ports = portsWithFlip(world, async (put) => {
        await put();
        return answer();
      });
      expect(await flipPointer(ports, world.shard, base, next)).toEqual({ outcome: "committed" });
      expect(ports.attempts()).toBe(1);
    }
  });

  it("F49 a flip whose answer was lost is committed although a third writer flipped on top", async () => {
    const ports = portsWithFlip(world, async (put) => {
      await put();
      await forcePointer(world, followedBy(next, 2));
      throw lostAnswer();
    });
    expect(await flipPointer(ports, world.shard, base, next)).toEqual({ outcome: "committed" });
  });

  it("F3 a flip whose answer was lost is lost when another commit has its version", async () => {
    const theirs = followedBy(pointerAfter(base.pointer, "theirs"), 2);
    const ports = portsWithFlip(world, async () => {
      await forcePointer(world, theirs);
      throw lostAnswer();
    });
    const outcome = await flipPointer(ports, world.shard, base, next);
    expect(outcome).toEqual({ outcome: "lost", to: theirs });
    expect(await current()).toEqual(theirs);
  });

  it("F2 409, or a failure before the store acted, is tried again with the same put", async () => {
    const ports = portsWithFlip(world, async (put, attempt) => {
      if (attempt < 4) throw lostAnswer();
      return put();
    });
    expect(await flipPointer(ports, world.shard, base, next)).toEqual({ outcome: "committed" });
    expect(ports.attempts()).toBe(4);
  });

  it("F1 the pointer may fail to be read too: the flip goes on until one of both answers", async () => {
    let reads = 0;
    const flips = portsWithFlip(world, async (put, attempt) => {
      if (attempt === 1) throw lostAnswer();
      return put();
    });
    const { get } = world.ports.objects;
    const objects = {
      ...flips.objects,
      get(...args: Parameters<typeof get>) {
        reads += 1;
        if (reads <= 1) throw lostAnswer();
        return get(...args);
      },
    };
    expect(await flipPointer({ ...flips, objects }, world.shard, base, next)).toEqual({
      outcome: "committed",
    });
  });

  it("F10 a store that never takes it: a bounded number of attempts, then unavailable with the cause", async () => {
    const cause = lostAnswer();
    const ports = portsWithFlip(world, async () => {
      throw cause;
    });
    await expect(flipPointer(ports, world.shard, base, next)).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringMatching(/did not take it 8 times; try again/),
      cause,
    });
    expect(ports.attempts()).toBe(8);
    expect(await current()).toEqual(base.pointer);
  });

  it("what is no failure of the environment is thrown at once", async () => {
    const corrupt = new SiltError("corrupt", "Cannot store: other bytes arrived");
    const ports = portsWithFlip(world, async () => {
      throw corrupt;
    });
    await expect(flipPointer(ports, world.shard, base, next)).rejects.toBe(corrupt);
    expect(ports.attempts()).toBe(1);
  });

  it("F5 so many flips on top that nobody remembers ours are unknown", async () => {
    const ports = portsWithFlip(world, async (put) => {
      await put();
      await forcePointer(world, followedBy(next, ANCESTORS_MAX + 1));
      throw lostAnswer();
    });
    expect(await flipPointer(ports, world.shard, base, next)).toEqual({ outcome: "unknown" });
  });

  it("F2 F8 a pointer that is gone is neither created nor lost: corrupt", async () => {
    await world.ports.objects.delete(pointerKey(world.shard));
    await expect(flipPointer(world.ports, world.shard, base, next)).rejects.toMatchObject({
      kind: "corrupt",
      message: expect.stringMatching(/it is gone/),
    });
    expect(await world.ports.objects.head(pointerKey(world.shard))).toEqual({ outcome: "absent" });
  });
});

describe("readPointer()", () => {
  it("gives undefined while the pointer is the one that is known", async () => {
    expect(await readPointer(world.ports.objects, world.shard, base.etag)).toBeUndefined();
    await flipPointer(world.ports, world.shard, base, next);
    const read = await readPointer(world.ports.objects, world.shard, base.etag);
    expect(read?.pointer).toEqual(next);
  });

  it("F31 F61 any changed digit of the pointer is found", async () => {
    const text = new TextDecoder().decode(encodeJson(next));
    const digits = [...text.matchAll(/\d/g)].map(({ index }) => index);
    expect(digits.length).toBeGreaterThan(50);
    for (const at of digits) {
      const digit = (Number(text[at]) + 1) % 10;
      const bytes = new TextEncoder().encode(`${text.slice(0, at)}${digit}${text.slice(at + 1)}`);
      world.ports.objects.stored.set(pointerKey(world.shard), {
        bytes,
        etag: "x",
        modifiedAtMs: 0,
      });
      await expect(
        readPointer(world.ports.objects, world.shard),
        `digit ${at}`,
      ).rejects.toMatchObject({
        kind: "corrupt",
      });
    }
  });

  it("F6 F52 a pointer of another store, collection or shard is refused", async () => {
    for (const other of [
      { storeId: "store0000009" },
      { collection: "words" },
      { shard: "1-of-2" },
    ]) {
      const { selfSha256: _, ...rest } = base.pointer;
      const key = manifestKey({ ...world.shard, ...other }, rest.version, rest.commitId);
      const manifest = { ...rest.manifest, key };
      await forcePointer(world, seal({ ...rest, ...other, manifest })).catch(() => {});
      await expect(readPointer(world.ports.objects, world.shard)).rejects.toMatchObject({
        kind: "corrupt",
        message: expect.stringMatching(/it belongs to/),
      });
    }
  });

  it("F35 a pointer that requires what this version does not know is refused as invalid", async () => {
    const { selfSha256: _, ...rest } = base.pointer;
    await forcePointer(world, seal({ ...rest, requires: ["leap"] })).catch(() => {});
    await expect(readPointer(world.ports.objects, world.shard)).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringMatching(/requires leap.*upgrade Silt/),
    });
  });
});

describe("readManifest()", () => {
  it("gives the manifest that the pointer names", async () => {
    expect(await readManifest(world.ports.objects, base.pointer)).toMatchObject({ version: 0 });
  });

  it("F8 a manifest that is gone is corrupt, never an empty snapshot", async () => {
    await world.ports.objects.delete(base.pointer.manifest.key);
    expect(await findManifest(world.ports.objects, base.pointer)).toBeUndefined();
    await expect(readManifest(world.ports.objects, base.pointer)).rejects.toMatchObject({
      kind: "corrupt",
      message: expect.stringMatching(/but it is gone/),
    });
  });

  it("F31 a manifest with another hash, or other fields than the pointer's, is corrupt", async () => {
    const { key } = base.pointer.manifest;
    const { stored } = world.ports.objects;
    const found = stored.get(key);
    if (found === undefined) throw new Error("no manifest");
    const flipped = Uint8Array.from(found.bytes);
    flipped[40] = (flipped[40] as number) ^ 1;
    stored.set(key, { ...found, bytes: flipped });
    await expect(readManifest(world.ports.objects, base.pointer)).rejects.toThrow(
      /its hash is not/,
    );
    stored.set(key, found);
    const fields = {
      version: 1,
      commitId: "x",
      epoch: 1,
      appliedThrough: 1,
      runsHash: "0".repeat(64),
    };
    for (const [field, value] of Object.entries(fields)) {
      const pointer = { ...base.pointer, [field]: value };
      await expect(readManifest(world.ports.objects, pointer)).rejects.toThrow(
        `its ${field} is not`,
      );
    }
  });
});
