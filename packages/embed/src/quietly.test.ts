import { afterEach, expect, it, vi } from "vitest";
import { quietly } from "./quietly.ts";

afterEach(() => vi.restoreAllMocks());

it("silences its own work, hears others meanwhile, and puts the console back", async () => {
  const heard: unknown[] = [];
  const spy = vi.spyOn(console, "log").mockImplementation((text) => void heard.push(text));
  const patched = console.log;
  const gate = Promise.withResolvers<void>();
  const work = quietly(async () => {
    console.log("inside");
    await gate.promise;
    console.log("inside, later");
    return 7;
  });
  console.log("outside, meanwhile");
  gate.resolve();
  expect(await work).toBe(7);
  console.log("outside, after");
  expect(heard).toEqual(["outside, meanwhile", "outside, after"]);
  expect(console.log).toBe(patched);
  spy.mockRestore();
});

it("puts the console back when the work fails, and only after the last of several", async () => {
  const original = console.warn;
  const gate = Promise.withResolvers<void>();
  const slow = quietly(() => gate.promise);
  const failing = quietly(async () => {
    throw new Error("no");
  });
  await expect(failing).rejects.toThrow("no");
  expect(console.warn).not.toBe(original);
  gate.resolve();
  await slow;
  expect(console.warn).toBe(original);
});
