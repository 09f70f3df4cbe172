/**
 * Issue 4, hostile input: small JSON documents of a store, written by someone who may write to it. No
 * operation dies or answers wrongly, the message names the document, and nothing outside is read.
 */
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { encodeJson, type Pointer, parsePointer, seal, sha256Of } from "@silt/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openLocalPorts } from "../../../packages/local/src/index.ts";
import { Store } from "../../../packages/silt/src/store.ts";
import { DOCUMENT_CASES, type DocumentCase, type DocumentKind } from "./document-cases.ts";
import {
  contentsOf,
  type Ending,
  endingOf,
  type HostileWorld,
  openHostileWorld,
} from "./hostile-world.ts";

let world: HostileWorld;
let truth: string;
let files: Readonly<Record<DocumentKind, string>>;
beforeAll(async () => {
  world = await openHostileWorld();
  truth = await contentsOf(world.store);
  const { store } = world.sandbox;
  const all = readdirSync(store, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(store, join(entry.parentPath, entry.name)));
  const find = (pattern: RegExp) =>
    all.find((path) => pattern.test(path)) ?? expect.fail(String(pattern));
  files = {
    collection: find(/collection\.json$/),
    policy: find(/policy\.json$/),
    pointer: find(/latest-pointer\.json$/),
    manifest: find(/snapshots\/1-\w+\/manifest\.json$/),
  };
});
afterAll(() => world[Symbol.asyncDispose]());

/** A copy of the store with the document in its place, and for a manifest a pointer that names its hash. */
function forge(hostile: DocumentCase): string {
  const root = join(world.inside, "forged");
  rmSync(root, { recursive: true, force: true });
  cpSync(world.sandbox.store, root, { recursive: true });
  const path = join(root, files[hostile.kind]);
  const bytes = Buffer.from(hostile.make(readFileSync(path, "utf8")) as string);
  overwrite(path, bytes);
  if (hostile.kind === "manifest") {
    const pointerPath = join(root, files.pointer);
    const { selfSha256: _, ...pointer } = parsePointer(readFileSync(pointerPath), "pointer");
    const manifest = { ...pointer.manifest, bytes: bytes.byteLength, sha256: sha256Of(bytes) };
    overwrite(pointerPath, encodeJson(seal<Omit<Pointer, "selfSha256">>({ ...pointer, manifest })));
  }
  return root;
}

function overwrite(path: string, bytes: Uint8Array): void {
  rmSync(path);
  writeFileSync(path, bytes);
}

/** Another store on the engine of the world's, so that no case has to start a thread. */
async function openCopy(root: string): Promise<{ readonly store: Store } & AsyncDisposable> {
  const { context } = world.store;
  const { engine, logger, metrics } = context.ports;
  const stack = new AsyncDisposableStack();
  const ports = stack.use(await openLocalPorts(root, { create: false, engine, logger, metrics }));
  const store = new Store({ ...context, ports }, root, stack);
  return { store, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

interface Observed {
  readonly endings: readonly Ending[];
  /** What a read gave, if it gave anything. */
  readonly contents: string | undefined;
  readonly said: string;
}

async function observe(root: string): Promise<Observed> {
  await using opened = await openCopy(root);
  const { store } = opened;
  let contents: string | undefined;
  const said: string[] = [];
  const endings = [
    await endingOf(async () => {
      contents = await contentsOf(store);
    }),
    await endingOf(async () => (await store.collection("notes")).query({ vector: [1, 2] })),
    await endingOf(() => store.status()),
    await endingOf(async () => {
      const { problems, notices } = await store.verify();
      said.push(...[...problems, ...notices].map(({ object, message }) => `${object}: ${message}`));
    }),
    await endingOf(async () => {
      const reports = await store.compact();
      said.push(...reports.map((report) => JSON.stringify(report)));
    }),
    await endingOf(async () =>
      (await store.collection("notes")).put([{ id: "n", embedding: [1, 1] }]),
    ),
  ];
  said.push(...endings.flatMap((ending) => ("message" in ending ? [ending.message] : [])));
  return { endings, contents, said: said.join("\n") };
}

describe("F32 F61 a store with a hostile document", () => {
  for (const hostile of DOCUMENT_CASES) {
    it(`${hostile.says === "accepted" ? "goes on with" : "names"} ${hostile.name}`, async () => {
      const before = world.outside();
      const { endings, contents, said } = await observe(forge(hostile));
      for (const ending of endings) {
        expect(
          ["done", "corrupt", "invalid", "unavailable", "fenced"],
          JSON.stringify(ending).slice(0, 500),
        ).toContain(ending.ended);
      }
      // A reader says the truth, or says that it cannot.
      if (contents !== undefined) expect(contents).toBe(truth);
      if (hostile.says === "accepted") {
        expect(endings.map(({ ended }) => ended)).toEqual(endings.map(() => "done"));
      } else {
        expect(said).toMatch(hostile.says);
        expect(endings.some(({ ended }) => ended !== "done")).toBe(true);
        expect(said).not.toMatch(/secret of|"internal"|TypeError|RangeError/);
      }
      for (const line of said.split("\n")) expect(line.length).toBeLessThan(4_000);
      expect(world.outside()).toBe(before);
    });
  }

  it("leaves the store that was copied as it was", async () => {
    expect(await world.store.verify()).toMatchObject({ ok: true });
    expect(await contentsOf(world.store)).toBe(truth);
  });
});
