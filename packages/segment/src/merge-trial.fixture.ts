/** Random logs as real files, merged in SQL and by core's fold: both must come out the same. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  addLanes,
  canonicalJson,
  composeWithAccount,
  contentSums,
  type DropRule,
  EMPTY_CONTENT,
  type MergeAccount,
  NO_ACCOUNT,
  type Row,
  type RowCounts,
  type SegmentContent,
  type SegmentOwner,
  type Tally,
} from "@silt/core";
import {
  createSeededRandom,
  liveRecords,
  modelOf,
  randomLog,
  type SeededRandom,
  silentLogger,
} from "@silt/testkit";
import { type MergeResult, type MergeSource, mergeSegments } from "./merge.ts";
import { rowOf, type StoredRow, writeContent } from "./segment-rows.ts";
import { closeFile, openForBulk, openForReading } from "./sqlite-file.ts";

export const OWNER: SegmentOwner = {
  collection: "lines",
  storeId: "store0000001",
  shard: "0-of-1",
  vectors: [{ name: "default", dimension: 2, encoding: "f32le", metric: "cosine", embedder: null }],
};
export const RUN_ID = "019b7684-0000-7000-8000-000000000000";
const RUNS_MAX = 7;
const INPUTS_MAX = 4;
const MEMORY_FOLDER = "/dev/shm";

/** An empty folder, in memory where the system has such a place; removed when it is disposed. */
export function temporaryFolder(): { readonly path: string } & Disposable {
  const root = existsSync(MEMORY_FOLDER) ? MEMORY_FOLDER : tmpdir();
  const path = mkdtempSync(join(root, "silt-segment-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** A file and what it holds. */
export interface TrialSegment {
  readonly source: MergeSource;
  readonly content: SegmentContent;
}

export function countsOf(content: SegmentContent): RowCounts {
  const counts = { put: 0, patch: 0, delete: 0 };
  for (const row of content.rows.values()) counts[row.operation] += 1;
  return counts;
}

/** Writes a content as a delta or as a segment; the result is what a merge wants to know of it. */
export function writeFile(
  path: string,
  content: SegmentContent,
  range: { readonly kind: MergeSource["kind"]; readonly first: number; readonly last?: number },
): MergeSource {
  const { kind, first: firstSequence, last: lastSequence = firstSequence } = range;
  const db = openForBulk(path, silentLogger);
  const { collection, storeId, shard } = OWNER;
  const unstamped = kind === "delta" ? unstampedOf(content) : content;
  const rows = writeContent(db, unstamped, {
    kind,
    format: "1",
    requires: "[]",
    collection,
    storeId,
    shard,
    vectors: canonicalJson(OWNER.vectors),
    firstSequence: kind === "delta" ? "0" : String(firstSequence),
    lastSequence: kind === "delta" ? "0" : String(lastSequence),
    runId: kind === "delta" ? RUN_ID : "",
  });
  closeFile(db, silentLogger);
  return { path, kind, firstSequence, lastSequence, rows, sums: contentSums(content) };
}

/** A delta cannot know its sequence number. */
export function unstampedOf(content: SegmentContent): SegmentContent {
  const rows = new Map([...content.rows].map(([id, row]) => [id, { ...row, sequence: 0 }]));
  return { rows, replaced: new Map([...content.replaced.keys()].map((parent) => [parent, 0])) };
}

/** What a file holds. */
export function readContent(path: string): SegmentContent {
  const db = openForReading(path, silentLogger);
  const stored = db.prepare<[], StoredRow>("SELECT * FROM rows").all();
  const replaced = db.prepare("SELECT parent, sequence FROM replaced").raw().all();
  closeFile(db, silentLogger);
  const rows = new Map(stored.map((row) => [row.id, rowOf(row)]));
  return { rows, replaced: new Map(replaced as [string, number][]) };
}

const addTally = (a: Tally, b: Tally): Tally => ({ rows: a.rows + b.rows, t: addLanes(a.t, b.t) });

/** What core's fold makes of adjacent contents, and the books of all its steps together. */
export function foldAll(contents: readonly SegmentContent[], rule: DropRule) {
  let account: MergeAccount = NO_ACCOUNT;
  let folded = EMPTY_CONTENT;
  for (const [index, content] of contents.entries()) {
    const last = index === contents.length - 1;
    const step = composeWithAccount(folded, content, last ? rule : { drop: "nothing" });
    folded = step.content;
    account = {
      created: addTally(account.created, step.account.created),
      consumed: addTally(account.consumed, step.account.consumed),
      superseded: addLanes(account.superseded, step.account.superseded),
      supersededRows: account.supersededRows + step.account.supersededRows,
    };
  }
  return { content: folded, account };
}

function rowText(row: Row): string {
  if (row.operation === "delete") return `delete ${row.sequence}`;
  const { operation, sequence, document } = row;
  const rest = operation === "put" ? [row.parent, Buffer.from(row.embedding).toString("hex")] : [];
  return canonicalJson([operation, sequence, document, row.metadata, ...rest]);
}

/** Throws, naming the first difference, unless both hold the same rows and replaced parents. */
export function expectSameContent(got: SegmentContent, want: SegmentContent): void {
  for (const id of new Set([...want.rows.keys(), ...got.rows.keys()])) {
    const [a, b] = [got.rows.get(id), want.rows.get(id)].map((row) => row && rowText(row));
    if (a !== b) throw new Error(`"${id}" is ${a}, the fold says ${b}`);
  }
  for (const parent of new Set([...want.replaced.keys(), ...got.replaced.keys()])) {
    const [a, b] = [got.replaced.get(parent), want.replaced.get(parent)];
    if (a !== b) throw new Error(`"${parent}" was replaced by ${a}, the fold says ${b}`);
  }
}

/** Throws unless a merge's file, counts, sums and books are those of the fold. */
export function expectAsFolded(
  path: string,
  result: MergeResult,
  want: { readonly content: SegmentContent; readonly account: MergeAccount },
): void {
  expectSameContent(readContent(path), want.content);
  const { rows, replaced, sums, account } = result;
  const told = canonicalJson({ rows, replaced, sums, account });
  const expected = canonicalJson({
    rows: countsOf(want.content),
    replaced: want.content.replaced.size,
    sums: contentSums(want.content),
    account: want.account,
  });
  if (told !== expected) throw new Error(`the merge says ${told}, the fold ${expected}`);
}

/** Only a merge that includes the oldest segment may drop, and then some of what it may. */
function randomRule(random: SeededRandom, includesOldest: boolean): DropRule {
  if (!includesOldest || random.chance(0.3)) return { drop: "nothing" };
  if (random.chance(0.5)) return { drop: "spent" };
  return { drop: "spent", keepFrom: 1 + random.int(RUNS_MAX) };
}

/** Runs of independent logs side by side in one file each, told apart by a prefix of ids and parents. */
function unite(logs: readonly (readonly SegmentContent[])[]): readonly SegmentContent[] {
  const [first = []] = logs;
  if (logs.length === 1) return first;
  return first.map((_, run) => {
    const rows = new Map<string, Row>();
    const replaced = new Map<string, number>();
    for (const [index, log] of logs.entries()) {
      const content = log[run] as SegmentContent;
      for (const row of content.rows.values()) {
        const id = `${index}/${row.id}`;
        const parent = row.operation === "put" && row.parent !== null;
        rows.set(id, { ...row, id, ...(parent ? { parent: `${index}/${row.parent}` } : {}) });
      }
      for (const [parent, sequence] of content.replaced)
        replaced.set(`${index}/${parent}`, sequence);
    }
    return { rows, replaced };
  });
}

export interface TrialTally {
  readonly merges: number;
  readonly records: number;
  readonly superseded: number;
}

/**
 * Merges random neighbours, one to four at a time, until one segment is left, and holds each merge
 * against the fold and the last against the reference model. Seeds `from` to `to` share files and
 * the shape of their merges, so that many are cheap; nothing else of one touches another.
 */
export function runMergeTrial(folder: string, from: number, to: number): TrialTally {
  const random = createSeededRandom(from);
  const runs = 1 + random.int(RUNS_MAX);
  const seeds = Array.from({ length: to - from + 1 }, (_, index) => from + index);
  const log = unite(seeds.map((seed) => randomLog(createSeededRandom(seed), runs)));
  const name = (what: string) => join(folder, `${from}-${what}.sqlite`);
  const segments: TrialSegment[] = log.map((content, index) => ({
    source: writeFile(name(`delta-${index + 1}`), content, { kind: "delta", first: index + 1 }),
    content,
  }));
  let [merges, superseded] = [0, 0];
  while (segments.length > 1 || segments[0]?.source.kind === "delta") {
    const at = random.int(segments.length);
    const inputs = segments.slice(at, at + 1 + random.int(INPUTS_MAX));
    const rule = randomRule(random, at === 0);
    const path = name(`merge-${merges}`);
    const merged = mergeTrial(inputs, rule, path);
    for (const { source } of inputs) rmSync(source.path);
    segments.splice(at, inputs.length, merged.segment);
    merges += 1;
    superseded += merged.result.account.supersededRows;
  }
  const { source, content } = segments[0] as TrialSegment;
  const [live, model] = [liveRecords(content), modelOf(log)];
  if (canonicalJson([...live].sort()) !== canonicalJson([...model].sort())) {
    throw new Error("the records of the last segment are not the reference model's");
  }
  rmSync(source.path);
  return { merges, records: model.size, superseded };
}

/** One merge, held against the fold. */
export function mergeTrial(inputs: readonly TrialSegment[], rule: DropRule, path: string) {
  const sources = inputs.map(({ source }) => source);
  const firstSequence = (sources[0] as MergeSource).firstSequence;
  const lastSequence = (sources.at(-1) as MergeSource).lastSequence;
  const range = { firstSequence, lastSequence };
  const result = mergeSegments(OWNER, sources, range, rule, path, silentLogger);
  const folded = foldAll(
    inputs.map(({ content }) => content),
    rule,
  );
  expectAsFolded(path, result, folded);
  const { rows, sums } = result;
  const source: MergeSource = { path, kind: "segment", ...range, rows, sums };
  return { result, segment: { source, content: folded.content } };
}
