/** A copy of the repository to break: its sources are copied, what is installed is linked. */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Edit, PlantedBug } from "./bug.ts";

export const TOP = fileURLToPath(new URL("../../..", import.meta.url));
const COPIED = ["packages", "test", "package.json", "tsconfig.json", "vitest.config.ts"];
const OWN_SCOPE = "@silt";

export interface CopiedTree extends Disposable {
  readonly root: string;
  /** Breaks the copy; undo it before the next bug. */
  plant(bug: PlantedBug): void;
  undo(): void;
}

export function copyTree(): CopiedTree {
  const root = mkdtempSync(join(tmpdir(), "silt-planted-"));
  const isSource = (path: string) => !/\/(node_modules|dist)(\/|$)/.test(path.slice(TOP.length));
  for (const name of COPIED) {
    cpSync(join(TOP, name), join(root, name), { recursive: true, filter: isSource });
  }
  linkInstalled(root);
  let planted: readonly (readonly [path: string, code: string])[] = [];
  return {
    root,
    plant(bug) {
      const files = new Map<string, string>();
      for (const edit of bug.edits) {
        files.set(edit.file, applyEdit(files.get(edit.file) ?? sourceOf(edit), edit, bug.name));
      }
      planted = [...files.keys()].map((file) => [file, readFileSync(join(TOP, file), "utf8")]);
      for (const [file, code] of files) writeFileSync(join(root, file), code);
    },
    undo() {
      for (const [file, code] of planted) writeFileSync(join(root, file), code);
      planted = [];
    },
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }),
  };
}

const sourceOf = ({ file }: Edit): string => readFileSync(join(TOP, file), "utf8");

/** Throws unless the place is there exactly once. */
export function applyEdit(code: string, { file, find, replace }: Edit, bug: string): string {
  const places = code.split(find).length - 1;
  if (places === 1) return code.replace(find, () => replace);
  throw new Error(`Cannot plant "${bug}": "${find.trim()}" is ${places} times in ${file}`);
}

/** Our own packages must be the copy's, not those that are installed. */
function linkInstalled(root: string): void {
  const modules = join(root, "node_modules");
  mkdirSync(join(modules, OWN_SCOPE), { recursive: true });
  for (const name of readdirSync(join(TOP, "node_modules"))) {
    if (name === OWN_SCOPE || name === "silt" || name === ".vite" || name === ".vitest") continue;
    symlinkSync(join(TOP, "node_modules", name), join(modules, name));
  }
  for (const name of readdirSync(join(TOP, "node_modules", OWN_SCOPE))) {
    symlinkSync(join(root, "packages", name), join(modules, OWN_SCOPE, name));
  }
  symlinkSync(join(root, "packages", "silt"), join(modules, "silt"));
}
