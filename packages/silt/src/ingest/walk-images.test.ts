import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { folderSource } from "./folder-source.ts";
import { openRoots } from "./image-sources.ts";
import { walkImages } from "./walk-images.ts";

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "silt-walk-")));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function touch(...names: readonly string[]): void {
  for (const name of names) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), "x");
  }
}

async function walked(...paths: readonly string[]): Promise<readonly string[]> {
  const roots = await openRoots(
    folderSource,
    paths.map((path) => join(folder, path)),
  );
  const files = await Array.fromAsync(walkImages(roots));
  return files.map(({ uri }) => relative(folder, fileURLToPath(uri)));
}

describe("walkImages()", () => {
  it("finds pictures of all folders in a stable order, and nothing else", async () => {
    touch("b.png", "a.jpg", "sub/deep/c.webp", "notes.txt", "a.jpg.json", ".hidden.png");
    touch(".git/d.png", "sub/e.TIF", "A.png");
    mkdirSync(join(folder, "folder.png"));
    const expected = ["A.png", "a.jpg", "b.png", "sub/deep/c.webp", "sub/e.TIF"];
    expect(await walked(".")).toEqual(expected);
    expect(await walked(".")).toEqual(expected);
  });

  it("follows links by their real path, never round in circles, and leaves broken ones out", async () => {
    touch("real/a.png", "elsewhere/b.png");
    symlinkSync("..", join(folder, "real/up"));
    symlinkSync("../elsewhere", join(folder, "real/link"));
    symlinkSync("../elsewhere/b.png", join(folder, "real/other-name.png"));
    symlinkSync("nowhere.png", join(folder, "real/broken.png"));
    symlinkSync("self.png", join(folder, "real/self.png"));
    expect(new Set(await walked("real"))).toEqual(new Set(["real/a.png", "elsewhere/b.png"]));
  });

  it("refuses what does not exist and what is no picture", async () => {
    touch("a.png", "notes.txt");
    await expect(walked("a.png", "missing")).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringContaining("it does not exist"),
    });
    await expect(walked("notes.txt")).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringContaining("it is no picture"),
    });
    await expect(openRoots(folderSource, [])).rejects.toMatchObject({ kind: "invalid" });
  });
});
