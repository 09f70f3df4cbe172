import {
  createSeededRandom,
  liveRecords,
  modelOf,
  randomLog,
  type SeededRandom,
} from "@silt/testkit";
import { describe, expect, it } from "vitest";
import { addLanes, type Lanes } from "./digest.ts";
import { compose, composeWithAccount, contentSums, type DropRule } from "./fold.ts";
import { encodeEmbedding } from "./record.ts";
import { EMPTY_CONTENT, type Row, type SegmentContent } from "./row.ts";

const SEEDS = 2_000;
const RUNS_MAX = 10;
const KEEP: DropRule = { drop: "nothing" };

const put = (id: string, sequence: number, parent: string | null = null): Row => ({
  operation: "put",
  id,
  parent,
  embedding: encodeEmbedding([sequence, 1]),
  document: null,
  metadata: {},
  sequence,
});
const contentOf = (rows: readonly Row[], replaced: readonly [string, number][] = []) => ({
  rows: new Map(rows.map((row) => [row.id, row])),
  replaced: new Map(replaced),
});

/** Only a merge that includes the oldest segment may drop, and then some of what it may. */
function randomRule(random: SeededRandom, includesOldest: boolean): DropRule {
  if (!includesOldest || random.chance(0.3)) return KEEP;
  return random.chance(0.5)
    ? { drop: "spent" }
    : { drop: "spent", keepFrom: 1 + random.int(RUNS_MAX) };
}

/** Merges two random neighbours until one segment is left, calling `each` for every merge. */
function mergeRandomly(
  log: readonly SegmentContent[],
  random: SeededRandom,
  each: (older: SegmentContent, newer: SegmentContent, rule: DropRule) => SegmentContent,
): SegmentContent {
  // An empty oldest segment, so that the first run is merged with the drop rules too.
  const segments = [EMPTY_CONTENT, ...log];
  while (segments.length > 1) {
    const at = random.int(segments.length - 1);
    const [older, newer] = segments.slice(at, at + 2) as [SegmentContent, SegmentContent];
    segments.splice(at, 2, each(older, newer, randomRule(random, at === 0)));
  }
  return segments[0] as SegmentContent;
}

function forEachLog(claim: (log: readonly SegmentContent[], random: SeededRandom) => void): void {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = createSeededRandom(seed);
    const log = randomLog(random, 1 + random.int(RUNS_MAX));
    try {
      claim(log, random);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
}

const putsIn = (content: SegmentContent) =>
  [...content.rows.values()].filter(({ operation }) => operation === "put").length;

describe("compose()", () => {
  it("I2 F54 merges of random neighbours in any order equal the sequential fold", () => {
    let records = 0;
    forEachLog((log, random) => {
      const merged = mergeRandomly(log, random, compose);
      const model = modelOf(log);
      records += model.size;
      expect(liveRecords(merged)).toEqual(model);
    });
    // Else all of this could be true of nothing.
    expect(records).toBeGreaterThan(SEEDS);
  });

  it("I2 the overlay of half-merged segments equals the sequential fold", () => {
    forEachLog((log, random) => {
      const cut = random.int(log.length + 1);
      const below = mergeRandomly(log.slice(0, cut), random, compose);
      const rest = log.slice(cut).map((run) => compose(EMPTY_CONTENT, run, KEEP));
      const overlaid = [below, ...rest].reduce((older, newer) => compose(older, newer));
      expect(liveRecords(overlaid)).toEqual(modelOf(log));
    });
  });

  it("I2 a merge that is done twice gives the same content", () => {
    forEachLog((log, random) => {
      const fork = random.int(2 ** 31);
      const once = mergeRandomly(log, createSeededRandom(fork), compose);
      expect(mergeRandomly(log, createSeededRandom(fork), compose)).toEqual(once);
    });
  });

  it("spent effects are gone after a merge of everything that drops them", () => {
    forEachLog((log) => {
      const all = log.reduce((older, newer) => compose(older, newer));
      const merged = compose(EMPTY_CONTENT, all, { drop: "spent" });
      expect(merged.replaced.size).toBe(0);
      expect(merged.rows.size).toBe(putsIn(merged));
    });
  });

  it("F26 F54 a row that a replaced parent kills stays as a delete and uncovers nothing", () => {
    const oldest = contentOf([put("a", 1)]);
    const killed = compose(contentOf([put("a", 2, "p")]), contentOf([], [["p", 3]]));
    expect(killed.rows.get("a")).toEqual({ operation: "delete", id: "a", sequence: 3 });
    expect(liveRecords(compose(oldest, killed)).has("a")).toBe(false);
  });

  it("F67 a replaced parent removes all its earlier records and spares its own new ones", () => {
    const panels = [1, 2, 3, 4].map((panel) => put(`p#${panel}`, 1, "p"));
    const again = contentOf([put("p#1", 2, "p"), put("p#2", 2, "p")], [["p", 2]]);
    const live = liveRecords(compose(contentOf([...panels, put("q#1", 1, "q")]), again));
    expect([...live.keys()].sort()).toEqual(["p#1", "p#2", "q#1"]);
    expect(live.get("p#1")?.sequence).toBe(2);
  });

  it("F54 a patch that removes a key still removes it from what lies further below", () => {
    const base = contentOf([{ ...put("a", 1), metadata: { shop: "Kino", seen: true } } as Row]);
    const patch = (metadata: Record<string, string | null>, sequence: number) =>
      contentOf([{ operation: "patch", id: "a", document: null, metadata, sequence }]);
    const patches = compose(patch({ shop: null }, 2), patch({ price: "low" }, 3));
    const live = liveRecords(compose(base, patches));
    expect(live.get("a")?.metadata).toEqual({ seen: true, price: "low" });
  });

  it("effects at or after keepFrom are kept, older ones dropped", () => {
    const deletes = [1, 2, 3].map(
      (sequence): Row => ({ operation: "delete", id: `id-${sequence}`, sequence }),
    );
    const content = contentOf(deletes, [
      ["p", 1],
      ["q", 2],
    ]);
    const merged = compose(EMPTY_CONTENT, content, { drop: "spent", keepFrom: 2 });
    expect([...merged.rows.keys()]).toEqual(["id-2", "id-3"]);
    expect([...merged.replaced.keys()]).toEqual(["q"]);
  });
});

describe("composeWithAccount()", () => {
  it("I3 every merge balances: rows and t in + created = out + consumed, v in = out + superseded", () => {
    let merges = 0;
    let superseded = 0;
    forEachLog((log, random) => {
      mergeRandomly(log, random, (older, newer, rule) => {
        const { content, account } = composeWithAccount(older, newer, rule);
        const [a, b, out] = [contentSums(older), contentSums(newer), contentSums(content)];
        const sum = (...lanes: readonly Lanes[]) => lanes.reduce(addLanes);
        expect(sum(a.v, b.v)).toEqual(sum(out.v, account.superseded));
        expect(sum(a.t, b.t, account.created.t)).toEqual(sum(out.t, account.consumed.t));
        expect(older.rows.size + newer.rows.size + account.created.rows).toBe(
          content.rows.size + account.consumed.rows,
        );
        expect(putsIn(older) + putsIn(newer)).toBe(putsIn(content) + account.supersededRows);
        merges += 1;
        superseded += account.supersededRows;
        return content;
      });
    });
    expect(merges).toBeGreaterThan(SEEDS);
    expect(superseded).toBeGreaterThan(SEEDS);
  });

  it("I3 the row that survives of an id is never older than a row it came from", () => {
    forEachLog((log) => {
      const merged = log.reduce((older, newer) => compose(older, newer));
      for (const content of log) {
        for (const row of content.rows.values()) {
          const kept = merged.rows.get(row.id);
          expect(kept).toBeDefined();
          // A patch that met a delete vanishes: the delete is what is known about the id.
          if (row.operation !== "patch" || kept?.operation !== "delete") {
            expect(kept?.sequence).toBeGreaterThanOrEqual(row.sequence);
          }
        }
      }
    });
  });
});
