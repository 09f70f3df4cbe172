/**
 * A store with sound data deep inside a folder tree of canaries: whatever hostile input does, nothing
 * outside of the store's own folders may change, and what was there stays as it was.
 */
import { createHash } from "node:crypto";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isSiltError, type SiltErrorKind } from "@silt/core";
import {
  type CommandSandbox,
  commandSandbox,
} from "../../../packages/silt/src/cli/command.fixture.ts";
import { openStore } from "../../../packages/silt/src/open-store.ts";
import type { Store } from "../../../packages/silt/src/store.ts";

export interface HostileWorld extends AsyncDisposable {
  /** The only folder that may change. */
  readonly inside: string;
  readonly sandbox: CommandSandbox;
  /** The store of the sandbox, open, with {@link NOTES} in it. */
  readonly store: Store;
  /** Everything outside of `inside`: names, kinds, contents. */
  outside(): string;
}

/** Records that every hostile bundle would overwrite, patch, delete or replace if it were taken. */
export const NOTES = [
  { id: "a", parent: "p", embedding: [3, 4], document: "kept", metadata: { shop: "Kino" } },
  { id: "b", embedding: [1, 0], document: "kept too", metadata: { k: 1 } },
  { id: "c", embedding: [0, 1], metadata: {} },
  { id: "child", parent: "p", embedding: [1, 1] },
];

/** Builds it in a new temporary folder. While it lives, all temporary files of this process go inside. */
export async function openHostileWorld(): Promise<HostileWorld> {
  const temporary = process.env.TMPDIR;
  const root = mkdtempSync(join(tmpdir(), "silt-hostile-"));
  const inside = join(root, "a", "b", "c", "inside");
  mkdirSync(inside, { recursive: true });
  plantCanaries(root);
  process.env.TMPDIR = inside;
  const sandbox = commandSandbox();
  const store = await openStore(sandbox.store, { cacheFolder: join(sandbox.folder, "cache") });
  const notes = await store.collection("notes", { dimension: 2 });
  await notes.put(NOTES);
  await store.compact();
  return {
    inside,
    sandbox,
    store,
    outside: () => fingerprintOf(root, inside),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      sandbox[Symbol.dispose]();
      if (temporary === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = temporary;
      rmSync(root, { recursive: true, force: true });
    },
  };
}

function plantCanaries(root: string): void {
  for (const folder of ["canary", "a/canary", "a/b/canary", "a/b/c/canary"]) {
    mkdirSync(join(root, folder));
    writeFileSync(join(root, folder, "secret.txt"), `secret of ${folder}`);
    writeFileSync(join(root, folder, "delta.sqlite"), "a file that a traversal would overwrite");
    symlinkSync("secret.txt", join(root, folder, "link"));
  }
}

function fingerprintOf(root: string, inside: string): string {
  const hash = createHash("sha256");
  const walk = (folder: string) => {
    for (const name of readdirSync(folder).sort()) {
      const path = join(folder, name);
      if (path === inside) continue;
      const info = lstatSync(path);
      hash.update(`${path}\0${info.mode}\0${info.isFile() ? info.size : 0}\0`);
      if (info.isDirectory()) walk(path);
      else if (info.isSymbolicLink()) hash.update(readlinkSync(path));
      else hash.update(readFileSync(path));
    }
  };
  walk(root);
  return hash.digest("hex");
}

/** All records of a collection as one comparable text. */
export async function contentsOf(store: Store, name = "notes", fresh = false): Promise<string> {
  const collection = await store.collection(name);
  const { records } = await collection.get({ embeddings: true, fresh, limit: 1_000 });
  return JSON.stringify(
    records.map((record) => ({ ...record, embedding: [...(record.embedding ?? [])] })),
  );
}

/** How an action ended: `done`, or the kind and message of its failure. `died`: no SiltError, or a bug. */
export type Ending =
  | { readonly ended: "done" }
  | { readonly ended: SiltErrorKind; readonly message: string }
  | { readonly ended: "died"; readonly message: string };

export async function endingOf(action: () => unknown): Promise<Ending> {
  try {
    await action();
    return { ended: "done" };
  } catch (error) {
    const { name, message } = error as Error;
    if (isSiltError(error) && error.kind !== "internal") return { ended: error.kind, message };
    return { ended: "died", message: `${name}: ${message}` };
  }
}
