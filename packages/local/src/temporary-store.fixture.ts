/** What the tests of this package share: a store in a temporary folder, and ports that are silent. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  EMPTY_RUNS_HASH,
  type Head,
  type Logger,
  type ObjectStore,
  type PutCondition,
  type PutOutcome,
  type SegmentEngine,
  type ShardRef,
  sha256Of,
} from "@silt/core";
import { createSeededRandom, createVirtualClock, silentLogger, silentMetrics } from "@silt/testkit";
import type { OpenLocalOptions } from "./open-local.ts";

export const SHARD: ShardRef = { collection: "lines", storeId: "store0000001", shard: "0-of-1" };
export const NEW_HEAD: Head = {
  sequence: 0,
  runsHash: EMPTY_RUNS_HASH,
  floor: "",
  excluding: null,
  excludeRev: 0,
};

export const noEngine: SegmentEngine = {
  openWorkbench: () => Promise.reject(new Error("these tests need no engine")),
};

/** Options that create a store and never wait for real time. */
export function optionsOf(logger: Logger = silentLogger): OpenLocalOptions {
  return {
    create: true,
    engine: noEngine,
    logger,
    metrics: silentMetrics,
    clock: createVirtualClock({ sleeps: "skip" }),
    random: createSeededRandom(1),
  };
}

/** An empty folder that is removed when it is disposed. */
export function temporaryFolder(parent = tmpdir()): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(parent, "silt-local-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export function putText(
  objects: ObjectStore,
  key: string,
  text: string,
  condition: PutCondition = { ifAbsent: true },
): Promise<PutOutcome> {
  const bytes = new TextEncoder().encode(text);
  const digest = { bytes: bytes.byteLength, sha256: sha256Of(bytes) };
  return objects.put(key, { kind: "bytes", bytes }, { condition, ...digest });
}
