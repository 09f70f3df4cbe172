import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openEnvStore } from "./open-env-store.ts";
import { testContext } from "./wiring.fixture.ts";
import { lambda, once } from "./wiring.ts";

let folder: string;
let printed: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "silt-wiring-"));
  printed = [];
  const print = (chunk: unknown) => {
    printed.push(String(chunk));
    return true;
  };
  vi.spyOn(process.stdout, "write").mockImplementation(print);
  vi.spyOn(process.stderr, "write").mockImplementation(print);
  vi.stubEnv("SILT_STORE", join(folder, "store"));
  vi.stubEnv("SILT_CACHE", join(folder, "cache"));
  vi.stubEnv("POWERTOOLS_SERVICE_NAME", "stack-test");
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

const lines = () =>
  printed
    .flatMap((text) => text.split("\n"))
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));

const collections = () =>
  lambda<unknown, readonly string[]>((wiring) => {
    const store = once(() => openEnvStore(wiring.env, wiring, { create: true }));
    return async () => (await store()).collections();
  });

describe("lambda()", () => {
  it("makes the collections of the environment, and again nothing", async () => {
    const notes = { name: "notes", dimension: 3, metric: "l2", shards: 2 };
    vi.stubEnv(
      "SILT_COLLECTIONS",
      JSON.stringify([notes, { name: "lines", embedder: "use-lite" }]),
    );
    expect(await collections()({}, testContext())).toEqual(["lines", "notes"]);
    expect(await collections()({}, testContext())).toEqual(["lines", "notes"]);
    vi.stubEnv("SILT_COLLECTIONS", JSON.stringify([{ ...notes, shards: 3 }]));
    await expect(collections()({}, testContext())).rejects.toMatchObject({ kind: "invalid" });
  });

  it("F13 opens once a container, and a failed opening is not kept", async () => {
    writeFileSync(join(folder, "store"), "no folder");
    const stores: unknown[] = [];
    const handle = lambda<unknown, void>((wiring) => {
      const store = once(() => openEnvStore(wiring.env, wiring, { create: true }));
      return async () => void stores.push(await store());
    });
    await expect(handle({}, testContext())).rejects.toThrow("store");
    rmSync(join(folder, "store"));
    await handle({}, testContext());
    await handle({}, testContext());
    expect(stores).toHaveLength(2);
    expect(stores[0]).toBe(stores[1]);
  });

  it("a wrong environment is a failure with its reason, logged once, and mended by a change", async () => {
    vi.stubEnv("SILT_PIPELINE", "ocr");
    const handle = collections();
    await expect(handle({}, testContext())).rejects.toThrow("SILT_PIPELINE");
    const errors = lines().filter(({ level }) => level === "ERROR");
    expect(errors).toMatchObject([
      { kind: "invalid", service: "stack-test", function_request_id: expect.any(String) },
    ]);
    vi.stubEnv("SILT_PIPELINE", "image");
    expect(await handle({}, testContext())).toEqual([]);
  });

  it("metrics go out at the end of each invocation, over all shards, also of one that fails", async () => {
    const handle = lambda<{ fails: boolean }, void>(({ metrics }) => {
      return async ({ fails }) => {
        metrics.gauge("OldestPendingSeconds", 5, { collection: "a" });
        metrics.gauge("OldestPendingSeconds", 7, { collection: "b" });
        metrics.count("Flips", 2);
        if (fails) throw new Error("after the metrics");
      };
    });
    await handle({ fails: false }, testContext());
    await expect(handle({ fails: true }, testContext())).rejects.toThrow();
    const emitted = lines().filter((line) => line._aws !== undefined);
    expect(emitted).toHaveLength(2);
    for (const line of emitted) {
      expect(line).toMatchObject({ service: "stack-test", OldestPendingSeconds: [5, 7], Flips: 2 });
      const [directive] = line._aws.CloudWatchMetrics;
      expect(directive).toMatchObject({
        Namespace: "Silt",
        Dimensions: [["service"]],
        Metrics: [
          { Name: "OldestPendingSeconds", Unit: "Seconds" },
          { Name: "Flips", Unit: "Count" },
        ],
      });
    }
  });
});

describe("once()", () => {
  it("lets callers at the same time share one opening", async () => {
    let opened = 0;
    const open = once(async () => {
      opened += 1;
      return opened;
    });
    expect(await Promise.all([open(), open()])).toEqual([1, 1]);
  });
});
