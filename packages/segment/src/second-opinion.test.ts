import { copyFileSync } from "node:fs";
import { join } from "node:path";
import {
  canonicalJson,
  encodeEmbedding,
  type Logger,
  lanesToHex,
  type SegmentContent,
  type SegmentDescriptor,
} from "@silt/core";
import { silentLogger } from "@silt/testkit";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { auditSegment } from "./audit.ts";
import { OWNER, temporaryFolder } from "./merge-trial.fixture.ts";
import { firstDifference, secondOpinion } from "./second-opinion.ts";
import { writeContent } from "./segment-rows.ts";
import { runSegmentTask } from "./segment-tasks.ts";
import { openForBulk } from "./sqlite-file.ts";

const folder = temporaryFolder();
const path = join(folder.path, "sound.sqlite");
afterAll(() => folder[Symbol.dispose]());
beforeAll(() => {
  const content: SegmentContent = {
    rows: new Map([
      [
        "a",
        {
          operation: "put",
          id: "a",
          parent: "p",
          embedding: encodeEmbedding([1, 2]),
          document: "zwei Kaffee, ä",
          metadata: { price: 1e21 },
          sequence: 1,
        },
      ],
      ["b", { operation: "patch", id: "b", document: null, metadata: { x: null }, sequence: 2 }],
      ["c", { operation: "delete", id: "c", sequence: 2 }],
    ]),
    replaced: new Map([["p", 1]]),
  };
  const db = openForBulk(path, silentLogger);
  writeContent(db, content, {
    kind: "segment",
    format: "1",
    requires: "[]",
    collection: OWNER.collection,
    storeId: OWNER.storeId,
    shard: OWNER.shard,
    vectors: canonicalJson(OWNER.vectors),
    firstSequence: "1",
    lastSequence: "2",
    runId: "",
  });
  db.close();
});

describe("secondOpinion()", () => {
  it("agrees about a sound file: texts, numbers over 2^53, blobs and nulls", async () => {
    expect(await secondOpinion(path, silentLogger)).toBeUndefined();
  });

  it("says what it cannot read", async () => {
    const broken = join(folder.path, "broken.sqlite");
    copyFileSync(path, broken);
    const db = new Database(broken);
    db.exec("DROP TABLE replaced");
    db.close();
    expect(await secondOpinion(broken, silentLogger)).toMatch(/no such table: replaced/);
  });
});

describe('the task "audit-segment"', () => {
  const auditOf = async (deep: boolean, changed: Partial<SegmentDescriptor> = {}) => {
    const { rows, replaced, sums } = auditSegment(path, OWNER, {}, silentLogger);
    const descriptor: SegmentDescriptor = {
      object: { key: "x.sqlite", bytes: 1, sha256: "", codec: "none" },
      firstSequence: 1,
      lastSequence: 2,
      rows,
      replaced,
      sums: { v: lanesToHex(sums.v), t: lanesToHex(sums.t) },
      tombstonesSince: null,
      sidecars: [],
      ...changed,
    };
    const steps: string[] = [];
    const logger: Logger = { log: (_, message) => steps.push(message) };
    const task = { task: "audit-segment", owner: OWNER, descriptor, path, deep } as const;
    return { problems: await runSegmentTask(task, logger), steps };
  };

  it("asks the second build when it shall look deep, and only then", async () => {
    const deep = await auditOf(true);
    expect(deep.problems).toEqual([]);
    expect(deep.steps).toContain("sqlite second opinion");
    expect((await auditOf(false)).steps).not.toContain("sqlite second opinion");
  });

  it.each<[Partial<SegmentDescriptor>, RegExp]>([
    [{ firstSequence: 2 }, /meta firstSequence is 1, expected 2/],
    [{ lastSequence: 3 }, /meta lastSequence is 2, expected 3/],
    [{ rows: { put: 2, patch: 1, delete: 1 } }, /^puts: 1 found, the manifest says 2$/],
    [{ rows: { put: 1, patch: 1, delete: 0 } }, /^deletes: 1 found/],
    [{ replaced: 0 }, /^replaced parents: 1 found/],
    [{ sums: { v: "0".repeat(32), t: "0".repeat(32) } }, /^vector digest sum/],
  ])("I3 holds the file against %o", async (changed, message) => {
    const { problems } = await auditOf(false, changed);
    expect((problems as readonly string[])[0]).toMatch(message);
  });
});

describe("firstDifference()", () => {
  const readings = (...rows: unknown[][]) => rows[Symbol.iterator]();
  const row = () => [1n, "a", new Uint8Array([1, 2]), null];

  it("is undefined for two readings of the same rows", () => {
    const ours = readings([1n, "a", Buffer.from([1, 2]), null]);
    expect(firstDifference(ours, readings(row()))).toBeUndefined();
  });

  it.each([
    ["another number", [2n, "a", new Uint8Array([1, 2]), null]],
    ["another text", [1n, "b", new Uint8Array([1, 2]), null]],
    ["another byte of a blob", [1n, "a", new Uint8Array([1, 3]), null]],
    ["a value for null", [1n, "a", new Uint8Array([1, 2]), ""]],
    ["a column less", [1n, "a", new Uint8Array([1, 2])]],
  ])("names the first row with %s", (_, other) => {
    expect(firstDifference(readings(row(), row()), readings(row(), other))).toBe(2);
  });

  it("names the row that only one of them has", () => {
    expect(firstDifference(readings(row()), readings())).toBe(1);
    expect(firstDifference(readings(row()), readings(row(), row()))).toBe(2);
  });
});
