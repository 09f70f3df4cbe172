/** F53, F30: what a put promises must be on the disk, in this order: content, name, folder. */
import { readlinkSync, writeFileSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { basename, join } from "node:path";
import { sha256Of } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openLocalPorts } from "./open-local.ts";
import { optionsOf, putText, temporaryFolder } from "./temporary-store.fixture.ts";

/** What was synced, linked and renamed, in order. The real calls are made all the same. */
const log: string[] = [];

const pathOf = (descriptor: number) => readlinkSync(`/proc/self/fd/${descriptor}`);

vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  return {
    ...fs,
    fsyncSync(descriptor: number) {
      log.push(`sync ${pathOf(descriptor)}`);
      fs.fsyncSync(descriptor);
    },
    renameSync(from: string, to: string) {
      log.push(`name ${to}`);
      fs.renameSync(from, to);
    },
  };
});
vi.mock("node:fs/promises", async (original) => {
  const fs = await original<typeof import("node:fs/promises")>();
  return {
    ...fs,
    async open(...args: Parameters<typeof fs.open>): Promise<FileHandle> {
      const handle = await fs.open(...args);
      const sync = handle.sync.bind(handle);
      handle.sync = () => {
        log.push(`sync ${pathOf(handle.fd)}`);
        return sync();
      };
      return handle;
    },
    async link(from: string, to: string) {
      log.push(`name ${to}`);
      await fs.link(from, to);
    },
  };
});

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder[Symbol.dispose]());

/** The steps of one put as `content`, `name` and the folders that were synced after it. */
function stepsOf(key: string, content: RegExp): readonly string[] {
  const root = join(folder.path, "store");
  return log.flatMap((step) => {
    if (step.startsWith("name ")) return step.endsWith(key) ? ["name"] : [];
    const path = step.slice("sync ".length);
    if (content.test(path)) return ["content"];
    return path.startsWith(root) ? [`folder ${basename(path)}`] : [];
  });
}

describe.runIf(process.platform === "linux")("put() is durable before it is acknowledged", () => {
  it("F53 bytes: synced, then linked, then the folders that lead to them", async () => {
    await using ports = await openLocalPorts(join(folder.path, "store"), optionsOf());
    log.length = 0;
    await putText(ports.objects, "collections/notes/a.json", "hello");
    const steps = stepsOf("a.json", /\.tmp$/);
    expect(steps.indexOf("content")).toBeGreaterThanOrEqual(0);
    expect(steps.indexOf("name")).toBeGreaterThan(steps.indexOf("content"));
    expect(steps.lastIndexOf("folder notes")).toBeGreaterThan(steps.indexOf("name"));
    expect(steps).toContain("folder collections");
  });

  it("F53 a file: synced itself, then linked, then its folder", async () => {
    await using ports = await openLocalPorts(join(folder.path, "store"), optionsOf());
    const path = join(folder.path, "given.sqlite");
    writeFileSync(path, "hello");
    log.length = 0;
    await ports.objects.put(
      "collections/b.sqlite",
      { kind: "file", path },
      { condition: { ifAbsent: true }, bytes: 5, sha256: sha256Of("hello") },
    );
    const steps = stepsOf("b.sqlite", /given\.sqlite$/);
    expect(steps.indexOf("content")).toBeGreaterThanOrEqual(0);
    expect(steps.indexOf("name")).toBeGreaterThan(steps.indexOf("content"));
    expect(steps.lastIndexOf("folder collections")).toBeGreaterThan(steps.indexOf("name"));
  });

  it("F53 a replaced pointer: synced, then renamed, then its folder", async () => {
    await using ports = await openLocalPorts(join(folder.path, "store"), optionsOf());
    const first = await putText(ports.objects, "collections/p.json", "1");
    if (first.outcome !== "stored") throw new Error(first.outcome);
    log.length = 0;
    await putText(ports.objects, "collections/p.json", "2", { ifMatch: first.etag });
    const steps = stepsOf("p.json", /\.tmp$/);
    expect(steps).toEqual(["content", "name", "folder collections"]);
  });
});
