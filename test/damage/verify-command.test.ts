/** What somebody at a terminal is told of a store that is damaged where a collection begins. */
import { rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type CommandSandbox,
  commandSandbox,
} from "../../packages/silt/src/cli/command.fixture.ts";

let sandbox: CommandSandbox;
beforeEach(async () => {
  sandbox = commandSandbox();
  await sandbox.silt(["init", "lines", "--dimension", "2"]);
  await sandbox.silt(["put", "lines"], '{"id":"a","embedding":[1,2]}');
});
afterEach(() => sandbox[Symbol.dispose]());

describe("F8 silt verify NAME", () => {
  const DAMAGES: readonly [
    what: string,
    file: string,
    damage: (path: string) => void,
    kind: string,
  ][] = [
    ["gone collection.json", "collection.json", (path) => rmSync(path), "collection-missing"],
    [
      "cut collection.json",
      "collection.json",
      (path) => truncateSync(path, 40),
      "collection-damaged",
    ],
    ["gone policy.json", "policy.json", (path) => rmSync(path), "policy-missing"],
  ];
  it.each(DAMAGES)(
    "ends with 3 and names a %s, as silt verify does",
    async (_, file, damage, kind) => {
      damage(join(sandbox.store, "collections/lines", file));
      for (const args of [
        ["verify", "lines", "--json"],
        ["verify", "--json"],
      ]) {
        const { exitCode, json } = await sandbox.silt(args);
        expect(exitCode).toBe(3);
        expect(json.problems).toMatchObject([{ object: `collections/lines/${file}`, kind }]);
        expect(json.checked.runs).toBe(1);
      }
    },
  );

  it("ends with 2 for a collection that is not there, and says which are", async () => {
    const { exitCode, stderr } = await sandbox.silt(["verify", "line"]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain("there are lines");
  });
});
