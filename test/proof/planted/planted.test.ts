/** The patches themselves: whether they are caught takes minutes, and is for `npm run planted`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PLANTED_BUGS } from "./bugs.ts";
import { applyEdit, TOP } from "./copied-tree.ts";

describe("planted bugs", () => {
  it("are at least twenty, each by its own name", () => {
    expect(new Set(PLANTED_BUGS.map(({ name }) => name)).size).toBe(PLANTED_BUGS.length);
    expect(PLANTED_BUGS.length).toBeGreaterThanOrEqual(20);
  });

  it.each(PLANTED_BUGS)("$name still finds its place in the sources", ({ name, edits }) => {
    expect(edits.length).toBeGreaterThan(0);
    const files = new Map<string, string>();
    for (const edit of edits) {
      const code = files.get(edit.file) ?? readFileSync(join(TOP, edit.file), "utf8");
      const broken = applyEdit(code, edit, name);
      expect(broken).not.toBe(code);
      files.set(edit.file, broken);
    }
  });
});
