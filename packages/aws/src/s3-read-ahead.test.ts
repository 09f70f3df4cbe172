import type { ReadOutcome } from "@silt/core";
import { expect, it } from "vitest";
import { createReadAhead } from "./s3-read-ahead.ts";

const keys = Array.from({ length: 20 }, (_, index) => `deltas/${index}.tar`);
const absent: ReadOutcome = { outcome: "absent" };

function counted(readNow: (key: string) => Promise<ReadOutcome> = async () => absent) {
  const asked: string[] = [];
  const ahead = createReadAhead((key) => {
    asked.push(key);
    return readNow(key);
  });
  return { asked, ahead };
}

it("announced reads begin in order, eight at a time, and go on as they are asked for", async () => {
  const { asked, ahead } = counted();
  using _ = ahead.announce(keys);
  expect(asked).toEqual(keys.slice(0, 8));
  for (const [index, key] of keys.entries()) {
    await ahead.read(key);
    expect(asked).toEqual(keys.slice(0, Math.min(keys.length, index + 9)));
  }
});

it("a second read of an announced key looks again, and so does any other", async () => {
  const { asked, ahead } = counted();
  using _ = ahead.announce(keys.slice(0, 1));
  await ahead.read("deltas/0.tar");
  await ahead.read("deltas/0.tar");
  await ahead.read("other");
  expect(asked).toEqual(["deltas/0.tar", "deltas/0.tar", "other"]);
});

it("a read that fails ahead fails for who asks for it, and for nobody else", async () => {
  const { ahead } = counted(async (key) => {
    if (key === "deltas/1.tar") throw new Error("cut off");
    return absent;
  });
  using _ = ahead.announce(keys.slice(0, 3));
  await new Promise((resolve) => setImmediate(resolve));
  expect(await ahead.read("deltas/0.tar")).toBe(absent);
  await expect(ahead.read("deltas/1.tar")).rejects.toThrow("cut off");
});

it("what was not asked for is forgotten when the announcement is taken back", async () => {
  const { asked, ahead } = counted();
  ahead.announce(keys)[Symbol.dispose]();
  await ahead.read("deltas/0.tar");
  expect(asked).toHaveLength(9);
  using _ = ahead.announce(keys.slice(10));
  expect(asked.slice(9)).toEqual(keys.slice(10, 18));
});
