import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { temporaryStore } from "./temporary-store.fixture.ts";

const DEAD = 999_999_999;

it("F30 an export takes away what killed ones have left of its file, and nothing else", async () => {
  await using temporary = await temporaryStore();
  const { store, folder } = temporary;
  const notes = await store.collection("notes", { dimension: 2 });
  await notes.put([{ id: "a", embedding: [1, 2] }]);
  await notes.compact();
  const names = [
    `out.${DEAD}.part`,
    `out.${process.ppid}.part`,
    `other.${DEAD}.part`,
    "out.x.part",
  ];
  for (const name of names) writeFileSync(join(folder, name), "");
  await store.export("notes", { jsonl: join(folder, "out") });
  const left = readdirSync(folder).filter((name) => name.startsWith("o"));
  expect(left.sort()).toEqual([
    "other.999999999.part",
    "out",
    `out.${process.ppid}.part`,
    "out.x.part",
  ]);
});

it("F30 an inspection works where leftovers of killed processes are swept", async () => {
  await using temporary = await temporaryStore();
  const { store, location } = temporary;
  const notes = await store.collection("notes", { dimension: 2 });
  const { runs } = await notes.put([{ id: "a", embedding: [1, 2] }]);
  const places: string[] = [];
  const { ports } = store.context;
  const read = ports.objects.read;
  ports.objects.read = (key) => {
    places.push(...readdirSync(join(location, "tmp")));
    return read(key);
  };
  await store.inspect(runs[0]?.runId ?? "");
  expect(places).toEqual([expect.stringMatching(new RegExp(`^work-${process.pid}-`))]);
  expect(readdirSync(join(location, "tmp"))).toEqual([]);
});
