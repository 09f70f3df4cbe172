import type { CancellationReason } from "@aws-sdk/client-dynamodb";
import {
  EMPTY_RUNS_HASH,
  FORMAT,
  type Guard,
  type Head,
  planRegistration,
  shardPartition,
} from "@silt/core";
import { describe, expect, it } from "vitest";
import { refusalOf } from "./dynamo-commit.ts";
import { guardItem, headItem, type Item, runIdItem } from "./dynamo-items.ts";
import { partsOf } from "./dynamo-transaction.ts";

const SHARD = { collection: "lines", storeId: "store0000001", shard: "0-of-1" };
const RUN_ID = "01890000-0000-7000-8000-000000000001";
const HEAD: Head = {
  sequence: 0,
  runsHash: EMPTY_RUNS_HASH,
  floor: "",
  excluding: null,
  excludeRev: 0,
};
const GUARD: Guard = {
  format: FORMAT,
  requires: [],
  uri: "file:///a",
  family: "images",
  rev: 2,
  sourceDigest: null,
  pipelineId: "p",
  runs: [],
  failure: null,
  root: null,
};
const MOVED = { ...HEAD, sequence: 3 };
const FLOORED = { ...MOVED, floor: "02" };

/** One run and one guard: the reasons are of HEAD, run, run id and guard, in this order. */
const { transaction } = planRegistration(
  [
    {
      shard: SHARD,
      runId: RUN_ID,
      delta: { key: "d", bytes: 1, sha256: "0".repeat(64), codec: "tar" },
      rows: { put: 1, patch: 0, delete: 0 },
      replaced: 0,
      source: null,
      retryOf: null,
    },
  ],
  new Map([[shardPartition(SHARD), HEAD]]),
  { guards: () => [{ expectedRev: 1, next: GUARD }] },
  "2026-01-01T00:00:00.000Z",
);
const PARTS = partsOf("table", transaction);

const failed = (found?: Item): CancellationReason => ({
  Code: "ConditionalCheckFailed",
  ...(found !== undefined && { Item: found }),
});
const OK: CancellationReason = { Code: "None" };
const CONFLICT: CancellationReason = { Code: "TransactionConflict" };
const KNOWN = failed(runIdItem(SHARD, RUN_ID, { state: "registered", sequence: 1 }));
const GUARD_MOVED = failed(guardItem({ ...GUARD, rev: 7 }));
const of = (...reasons: readonly CancellationReason[]) => refusalOf(PARTS, reasons);

describe("refusalOf()", () => {
  it("of everything at once names the conditions in the order that the port promises", () => {
    const all = [failed(headItem(SHARD, FLOORED)), failed(), KNOWN, GUARD_MOVED] as const;
    expect(of(failed(), ...all.slice(1))).toEqual({ outcome: "no-head", shard: SHARD });
    expect(of(...all)).toMatchObject({ outcome: "run-known", runId: RUN_ID });
    expect(of(all[0], failed(), OK, GUARD_MOVED)).toEqual({
      outcome: "below-floor",
      runId: RUN_ID,
      floor: "02",
    });
    const moved = failed(headItem(SHARD, MOVED));
    expect(of(moved, failed(), OK, GUARD_MOVED)).toMatchObject({ outcome: "guard-moved" });
    expect(of(moved, failed(), OK, OK)).toEqual({
      outcome: "head-moved",
      shard: SHARD,
      head: MOVED,
    });
  });

  it("of a part of the reasons says what is true", () => {
    expect(of(CONFLICT, OK, KNOWN, OK)).toMatchObject({
      outcome: "run-known",
      state: { state: "registered", sequence: 1 },
    });
    expect(of(OK, OK, OK, GUARD_MOVED)).toEqual({
      outcome: "guard-moved",
      guard: { ...GUARD, rev: 7 },
    });
    expect(of(CONFLICT, OK, OK, failed())).toEqual({ outcome: "guard-moved", guard: undefined });
  });

  it("of none that tells something is undefined: conflicts, a run's key alone, no reasons", () => {
    expect(of(CONFLICT, OK, OK, OK)).toBeUndefined();
    expect(of(OK, failed(), OK, OK)).toBeUndefined();
    expect(of(OK, { Code: "ThrottlingError" }, OK, OK)).toBeUndefined();
    expect(of()).toBeUndefined();
  });
});
