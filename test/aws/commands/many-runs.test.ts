/** More of everything than one request of AWS takes. */
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  type CommandSandbox,
  commandSandbox,
} from "../../../packages/silt/src/cli/command.fixture.ts";
import { openStore } from "../../../packages/silt/src/open-store.ts";

const RUNS = 120;

let sandbox: CommandSandbox;
beforeEach(() => {
  sandbox = commandSandbox();
});
afterEach(() => sandbox[Symbol.dispose]());

it(`a shard of ${RUNS} bundles is verified, looked after and collected like a small one`, async () => {
  const json = (...args: string[]) => sandbox.silt([...args, "--json"]);
  expect(await json("init", "notes", "--dimension", "2")).toMatchObject({ exitCode: 0 });
  {
    await using store = await openStore(sandbox.store, { cacheFolder: sandbox.folder });
    const notes = await store.collection("notes");
    for (let run = 0; run < RUNS; run++) await notes.put([{ id: `${run}`, embedding: [run, 1] }]);
    await store.compact();
  }
  expect(await json("verify")).toMatchObject({ exitCode: 0, json: { ok: true, problems: [] } });
  expect(await json("doctor")).toMatchObject({ exitCode: 0 });
  const now = ["--grace", "0s", "--keep-deltas-for", "0s"];
  expect(await json("policy", "notes", ...now)).toMatchObject({ exitCode: 0 });
  await json("gc");
  const gone = await json("gc", "--delete");
  expect(gone).toMatchObject({ exitCode: 0 });
  expect(gone.json.shards[0].deleted.length).toBeGreaterThan(100);
  expect(await json("verify")).toMatchObject({ exitCode: 0, json: { ok: true, problems: [] } });
});
