import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { takeFileLock } from "./lock-file.ts";

const HOLDER = fileURLToPath(new URL("./lock-holder.fixture.ts", import.meta.url));

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "silt-lock-"));
  path = join(folder, "lock");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("takeFileLock", () => {
  it("is held once, in this process too, until it is disposed", () => {
    const first = takeFileLock(path);
    expect(first).toBeDefined();
    expect(takeFileLock(path)).toBeUndefined();
    expect(takeFileLock(path)).toBeUndefined();
    first?.[Symbol.dispose]();
    using again = takeFileLock(path);
    expect(again).toBeDefined();
  });

  it("is free as soon as a process that had it was killed", async () => {
    const child = spawn(process.execPath, [HOLDER, path], { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    expect(takeFileLock(path)).toBeUndefined();
    child.kill("SIGKILL");
    await once(child, "close");
    using taken = takeFileLock(path);
    expect(taken).toBeDefined();
  });

  it("goes to exactly one of several processes that take it over from a dead one at once", async () => {
    const start = () =>
      spawn(process.execPath, [HOLDER, path], { stdio: ["ignore", "pipe", "inherit"] });
    const dead = start();
    await once(dead.stdout, "data");
    dead.kill("SIGKILL");
    await once(dead, "close");
    const children = Array.from({ length: 5 }, start);
    const said = await Promise.all(children.map(({ stdout }) => once(stdout, "data")));
    for (const child of children) child.kill("SIGKILL");
    expect(said.map(String).toSorted()).toEqual(["held", ...Array(4).fill("refused")]);
  });

  it("names what is no lock", () => {
    expect(() => takeFileLock(join(folder, "absent", "lock"))).toThrow(/Cannot take lock/);
  });
});
