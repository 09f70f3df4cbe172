/** Every kind of object, damaged in every way: `verifyStore()` finds it and names it. */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type VerifyReport, verifyStore } from "@silt/core";
import { createSeededRandom } from "@silt/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LocalPorts } from "../../packages/local/src/index.ts";
import {
  buildStore,
  flipBit,
  grow,
  objectKeys,
  openStoreFolder,
  overwrite,
  truncate,
} from "./store-copy.fixture.ts";

const folder = openStoreFolder();
let ports: LocalPorts;
beforeAll(async () => {
  await buildStore(folder);
  ports = await folder.open();
});
afterAll(async () => {
  await ports[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** The key of `collection` that matches, counted from 0 or, below 0, from the end. */
function keyOf(collection: string, pattern: RegExp, index = 0): string {
  const prefix = `collections/${collection}/`;
  const found = objectKeys(folder.root).filter(
    (key) => key.startsWith(prefix) && pattern.test(key),
  );
  return found.at(index) ?? expect.fail(`no key of ${collection} matches ${pattern}`);
}

/** Bundles in the order of their runs. */
async function bundleKeys(): Promise<readonly string[]> {
  const [first] = objectKeys(folder.root);
  const storeId = (first as string).split("/")[2] as string;
  const shard = { collection: "lines", storeId, shard: "0-of-1" };
  const runs = await ports.log.readRuns(shard, { after: 0, limit: 100 });
  return runs.map(({ delta }) => delta.key);
}

interface Thing {
  readonly name: string;
  readonly key: () => string | Promise<string>;
  /** Other valid objects of its kind; for manifests and segments an older one of this shard, too. */
  readonly others: () => readonly string[] | Promise<readonly string[]>;
  readonly kinds: RegExp;
  /** When it may be gone without damage, for a collector takes the oldest. */
}

const THINGS: readonly Thing[] = [
  {
    name: "collection.json",
    key: () => keyOf("lines", /\/collection\.json$/),
    others: () => [keyOf("words", /\/collection\.json$/)],
    kinds: /^collection-(damaged|missing|mismatch)$/,
  },
  {
    name: "policy.json",
    key: () => keyOf("lines", /\/policy\.json$/),
    // Any policy is valid in any collection.
    others: () => [keyOf("words", /\/collection\.json$/)],
    kinds: /^policy-(damaged|missing)$/,
  },
  {
    name: "pointer",
    key: () => keyOf("lines", /latest-pointer\.json$/),
    others: () => [keyOf("words", /latest-pointer\.json$/)],
    kinds: /^pointer-(damaged|missing)$/,
  },
  {
    name: "manifest of the current version",
    key: () => keyOf("lines", /\/4-\w+\/manifest\.json$/),
    others: () => [
      keyOf("lines", /\/3-\w+\/manifest\.json$/),
      keyOf("words", /\/1-\w+\/manifest\.json$/),
    ],
    kinds: /^manifest-(damaged|missing)$/,
  },
  {
    name: "manifest of a version between",
    key: () => keyOf("lines", /\/2-\w+\/manifest\.json$/),
    others: () => [keyOf("lines", /\/1-\w+\/manifest\.json$/)],
    kinds: /^old-manifest-(damaged|missing)$/,
  },
  {
    name: "manifest of the oldest version",
    key: () => keyOf("lines", /\/0-\w+\/manifest\.json$/),
    others: () => [keyOf("lines", /\/1-\w+\/manifest\.json$/)],
    kinds: /^old-manifest-(damaged|missing)$/,
  },
  {
    name: "segment of the current version",
    key: () => keyOf("lines", /\/4-\w+\/.*\.sqlite$/),
    others: () => [keyOf("lines", /\/1-\w+\/.*\.sqlite$/), keyOf("words", /\/1-\w+\/.*\.sqlite$/)],
    kinds: /^segment-(damaged|missing)$/,
  },
  {
    name: "segment of an old version",
    key: () => keyOf("lines", /\/1-\w+\/.*\.sqlite$/),
    others: () => [keyOf("words", /\/1-\w+\/.*\.sqlite$/)],
    kinds: /^old-segment-(damaged|missing)$/,
  },
  {
    name: "bundle of an applied run",
    key: async () => (await bundleKeys())[1] as string,
    others: async () => [(await bundleKeys())[2] as string],
    kinds: /^applied-bundle-(damaged|missing)$/,
  },
  {
    name: "bundle of a pending run",
    key: async () => (await bundleKeys()).at(-1) as string,
    others: async () => [(await bundleKeys())[2] as string],
    kinds: /^bundle-(damaged|missing)$/,
  },
];

const FLIPS = 3;

/** Header, first page, end, and places by seed: pages, blobs, digests, digits. */
function flipPlaces(seed: number): readonly number[] {
  const random = createSeededRandom(seed);
  return [0, 0.001, 0.999_999, ...Array.from({ length: FLIPS }, () => random.fraction())];
}

/** Damages an object, verifies, and puts the object back as it was. */
async function reportOf(key: string, damage: (path: string) => void): Promise<VerifyReport> {
  const path = join(folder.root, key);
  const before = readFileSync(path);
  damage(path);
  try {
    return await verifyStore(ports, { collections: ["lines"] });
  } finally {
    overwrite(path, before);
  }
}

function expectNamed(report: VerifyReport, key: string, kinds: RegExp): void {
  expect(report.ok).toBe(false);
  const named = report.problems.filter((problem) => problem.object === key);
  expect(named.length, JSON.stringify(report.problems)).toBeGreaterThan(0);
  for (const { kind, message, remedy } of named) {
    expect(kind).toMatch(kinds);
    expect(message).not.toBe("");
    expect(remedy).toMatch(/\.$/);
  }
  // One damage is one problem: nothing that is sound is blamed for it.
  expect(report.problems.filter((problem) => problem.object !== key)).toEqual([]);
}

describe("verifyStore() of a sound store", () => {
  it("is ok, and has looked at every object", async () => {
    const report = await verifyStore(ports, { deep: true });
    expect(report).toMatchObject({ ok: true, problems: [], notices: [] });
    const { objects, runs, segments, rows, bytes } = report.checked;
    expect(objects).toBe(objectKeys(folder.root).length);
    expect(runs).toBe(10);
    expect(segments).toBeGreaterThan(2);
    expect(rows).toBeGreaterThan(10);
    expect(bytes).toBeGreaterThan(500_000);
  });
});

describe("F61 verifyStore() finds one flipped digit, which is still JSON and still a valid value,", () => {
  it.each([
    [
      "appliedThrough of the pointer",
      () => keyOf("lines", /latest-pointer\.json$/),
      /"appliedThrough":5/,
      '"appliedThrough":4',
    ],
    [
      "version of the pointer",
      () => keyOf("lines", /latest-pointer\.json$/),
      /"version":4/,
      '"version":5',
    ],
    [
      "metric of the collection",
      () => keyOf("lines", /\/collection\.json$/),
      /"metric":"cosine"/,
      '"metric":"l2"',
    ],
    [
      "dimension of the collection",
      () => keyOf("lines", /\/collection\.json$/),
      /"dimension":4/,
      '"dimension":5',
    ],
    [
      "retention in the policy",
      () => keyOf("lines", /\/policy\.json$/),
      /"fanOut":64/,
      '"fanOut":65',
    ],
  ] as const)("in the %s", async (_, key, digit, flipped) => {
    const text = readFileSync(join(folder.root, key()), "utf8");
    expect(text).toMatch(digit);
    const report = await reportOf(key(), (path) =>
      overwrite(path, Buffer.from(text.replace(digit, flipped))),
    );
    expectNamed(report, key(), /^(pointer|collection|policy)-damaged$/);
  });
});

describe("I1 F31 verifyStore() names a damaged", () => {
  for (const [index, { name, key, others, kinds }] of THINGS.entries()) {
    describe(name, () => {
      it("with one bit flipped, wherever it is", async () => {
        const object = await key();
        for (const [place, at] of flipPlaces(index + 1).entries()) {
          const report = await reportOf(object, (path) => flipBit(path, at, place % 8));
          expectNamed(report, object, kinds);
        }
      }, 20_000);

      it("that lost its end, all of it, or grew", async () => {
        const object = await key();
        const damages = [
          (path: string) => truncate(path, 1),
          (path: string) => truncate(path, Math.ceil(readFileSync(path).length / 2)),
          (path: string) => truncate(path, Number.MAX_SAFE_INTEGER),
          grow,
        ];
        for (const damage of damages) {
          expectNamed(await reportOf(object, damage), object, kinds);
        }
      }, 20_000);

      it("that another valid object of its kind has replaced", async () => {
        const object = await key();
        for (const other of await others()) {
          const bytes = readFileSync(join(folder.root, other));
          expectNamed(await reportOf(object, (path) => overwrite(path, bytes)), object, kinds);
        }
      });

      it("that is gone", async () => {
        const object = await key();
        expectNamed(await reportOf(object, (path) => rmSync(path)), object, kinds);
      });
    });
  }
});
