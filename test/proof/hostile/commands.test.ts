/** Issue 4, hostile input: what is typed and piped into the command is refused whole, or taken exactly. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { COMMAND_CASES } from "./command-cases.ts";
import { contentsOf, type HostileWorld, openHostileWorld } from "./hostile-world.ts";

const SECONDS_MAX = 10;

let world: HostileWorld;
let truth: string;
beforeAll(async () => {
  world = await openHostileWorld();
  await world.store.collection("inbox", { dimension: 2 });
  truth = await contentsOf(world.store);
});
afterAll(() => world[Symbol.asyncDispose]());

const headOf = async () => {
  const statuses = await world.store.status();
  return JSON.stringify(statuses.map(({ collection, shards }) => [collection, shards[0]?.head]));
};

describe("F32 silt", () => {
  for (const { name, args, input, says } of COMMAND_CASES) {
    it(`${says === "accepted" ? "takes" : "refuses"} ${name}`, async () => {
      const before = [world.outside(), await headOf()];
      const start = performance.now();
      const { exitCode, stdout, stderr } = await world.sandbox.silt([...args], input);
      expect((performance.now() - start) / 1_000).toBeLessThan(SECONDS_MAX);
      if (says === "accepted") {
        expect(stderr).not.toMatch(/error/);
        expect(exitCode).toBe(0);
      } else {
        expect(stderr).toMatch(says);
        expect(stdout).toBe("");
        expect(exitCode).toBe(2);
        expect(stderr.length).toBeLessThan(2_000);
        // biome-ignore lint/suspicious/noControlCharactersInRegex: none may reach a terminal
        expect(stderr).not.toMatch(/[\x00-\x09\x0b-\x1f]/);
        expect([world.outside(), await headOf()]).toEqual(before);
      }
      expect(world.outside()).toBe(before[0]);
    });
  }

  it("keeps what was taken to the byte, and everything else as it was", async () => {
    const inbox = JSON.parse(await contentsOf(world.store, "inbox", true)) as {
      id: string;
      metadata: object;
    }[];
    const ids = inbox.map(({ id }) => id);
    expect(ids).toContain("a'; DROP TABLE rows; --");
    expect(ids).toContain("../../../canary/secret.txt");
    expect(ids).toContain("__proto__");
    expect(Object.getPrototypeOf({})).toBe(Object.prototype);
    expect(({} as { admin?: unknown }).admin).toBeUndefined();
    await world.store.compact();
    expect(await contentsOf(world.store)).toBe(truth);
    expect(await world.store.verify({ deep: true })).toMatchObject({ ok: true });
  });
});
