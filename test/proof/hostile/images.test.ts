/** Issue 4, hostile input: pictures and sidecars, each alone and all in one folder that is ingested. */
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { prepareImage } from "@silt/embed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { contentsOf, endingOf, type HostileWorld, openHostileWorld } from "./hostile-world.ts";
import { IMAGE_CASES, SIDECAR_CASES } from "./image-cases.ts";

const SECONDS_MAX = 10;

let world: HostileWorld;
let folder: string;
beforeAll(async () => {
  world = await openHostileWorld();
  folder = join(world.inside, "pictures");
  mkdirSync(folder);
  for (const { name, make } of IMAGE_CASES) writeFileSync(join(folder, name), await make());
  const sound = await IMAGE_CASES[0]?.make();
  for (const { name, text } of SIDECAR_CASES) {
    writeFileSync(join(folder, `${name}.png`), sound ?? "");
    writeFileSync(join(folder, `${name}.png.json`), text);
  }
  plantTraps(folder);
});
afterAll(() => world[Symbol.asyncDispose]());

/** What looks like a picture by its name, and is no file, or leads elsewhere. */
function plantTraps(at: string): void {
  execFileSync("mkfifo", [join(at, "pipe.png")]);
  mkdirSync(join(at, "folder.png"));
  symlinkSync("/dev/zero", join(at, "zero.png"));
  symlinkSync("loop.png", join(at, "loop.png"));
  symlinkSync(at, join(at, "circle"));
  symlinkSync("../../canary/secret.txt", join(at, "secret.png"));
  execFileSync("mkfifo", [join(at, "sound.png.json")]);
}

describe("F32 prepareImage()", () => {
  for (const { name, make, says } of IMAGE_CASES) {
    it(`${says === "accepted" ? "reads" : "refuses"} ${name}`, async () => {
      const bytes = await make();
      const start = performance.now();
      const ending = await endingOf(() => prepareImage({ name, bytes }));
      expect((performance.now() - start) / 1_000).toBeLessThan(SECONDS_MAX);
      if (says === "accepted") return expect(ending).toEqual({ ended: "done" });
      expect(ending).toMatchObject({ ended: "invalid", message: expect.stringMatching(says) });
      expect(ending).toMatchObject({ message: expect.stringContaining(`"${name}"`) });
    });
  }
});

describe("F32 silt ingest of a folder of them all", () => {
  it("keeps the sound ones, names each of the others with its reason, and follows nothing", async () => {
    const before = [world.outside(), await contentsOf(world.store)];
    const args = ["ingest", folder, "--pipeline", "image", "--json"];
    const { exitCode, json } = await world.sandbox.silt(args);
    expect(exitCode).toBe(1);
    const reasons = new Map<string, string>(
      json.failures.map(({ source, reason }: { source: string; reason: string }) => [
        source.split("/").at(-1) ?? "",
        reason,
      ]),
    );
    for (const { name, says } of IMAGE_CASES) {
      if (says === "accepted") expect(reasons.get(name), name).toBeUndefined();
      else expect(reasons.get(name), name).toMatch(says);
    }
    for (const { name, says } of SIDECAR_CASES) {
      if (says === "accepted") expect(reasons.get(`${name}.png`), name).toBeUndefined();
      else expect(reasons.get(`${name}.png`), name).toMatch(says);
    }
    const known = new Set([
      ...IMAGE_CASES.map(({ name }) => name),
      ...SIDECAR_CASES.map(({ name }) => `${name}.png`),
    ]);
    expect([...reasons.keys()].filter((name) => !known.has(name))).toEqual([]);
    const images = JSON.parse(await contentsOf(world.store, "images", true)) as object[];
    const sound = [...IMAGE_CASES, ...SIDECAR_CASES].filter(({ says }) => says === "accepted");
    expect(images).toHaveLength(sound.length);
    expect([world.outside(), await contentsOf(world.store)]).toEqual(before);
    expect(await world.store.verify()).toMatchObject({ ok: true });
  });
});
