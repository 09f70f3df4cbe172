/** Fuzz targets: JSON Lines, filters and sidecars, each held against a second, naive reading. */
import {
  canonicalJson,
  isSiltError,
  type Metadata,
  matchesDocument,
  matchesWhere,
  parsePatch,
  parseRecord,
  parseWhere,
  parseWhereDocument,
  type VectorField,
} from "@silt/core";
import { parseSidecar } from "@silt/embed";
import type { SeededRandom } from "@silt/testkit";
import { type FuzzTarget, insist } from "./fuzz-arena.ts";
import { mutateJson, mutateText, oddValue } from "./mutate.ts";

type Json = Record<string, unknown>;

const KEYS = ["shop", "total", "seen", "__proto__", "constructor", "k"];

function randomMetadata(random: SeededRandom): Json {
  const value = () => random.pick(["Kino", "", true, false, 0, 5, -1.5, "5"]);
  return Object.fromEntries(KEYS.filter(() => random.chance(0.4)).map((key) => [key, value()]));
}

function randomRecord(random: SeededRandom): Json {
  return {
    id: `fuzz-${random.int(1_000_000)}`,
    embedding: [1 + random.int(9), random.fraction()],
    ...(random.chance(0.5) ? { parent: `p${random.int(9)}` } : {}),
    ...(random.chance(0.5) ? { document: `text ${random.int(9)}` } : {}),
    ...(random.chance(0.7) ? { metadata: randomMetadata(random) } : {}),
  };
}

function oddText(random: SeededRandom, value: unknown): string {
  let changed = value;
  for (let left = random.int(3); left > 0; left--) changed = mutateJson(random, changed);
  const text = JSON.stringify(changed) ?? "null";
  return random.chance(0.25) ? mutateText(random, text) : text;
}

/** One line through the real parser: refused as `invalid`, or stored as it was written. */
export const fuzzRecord: FuzzTarget = async (random, { owner }) => {
  const isPatch = random.chance(0.3);
  const { embedding: _, parent: __, ...patch } = randomRecord(random);
  let input: unknown;
  try {
    input = JSON.parse(oddText(random, isPatch ? patch : randomRecord(random)));
  } catch {
    return "no JSON";
  }
  try {
    const field = owner.vectors[0] as VectorField;
    const row = isPatch ? parsePatch(input) : parseRecord(input, field, 1);
    const given = input as Json;
    insist(row.id === given.id, "another id");
    insist(row.document === (given.document ?? null), "another document");
    const stored = canonicalJson(row.metadata);
    insist(stored === canonicalJson(given.metadata ?? {}), "other metadata");
    insist(canonicalJson(JSON.parse(stored)) === stored, "metadata that do not come back");
    return "taken";
  } catch (error) {
    insist(isSiltError(error, "invalid"), String(error));
    return "refused";
  }
};

/** Lines through the command into a real store, and back. */
export const fuzzLines: FuzzTarget = async (random, { world }) => {
  const records = Array.from({ length: 1 + random.int(4) }, () => randomRecord(random));
  const odd = random.chance(0.7) ? random.int(records.length) : -1;
  const lines = records.map((record, index) =>
    index === odd ? oddText(random, record) : JSON.stringify(record),
  );
  const input = lines.join(random.pick(["\n", "\r\n", "\n\n"]));
  const { exitCode, stderr } = await world.sandbox.silt(["put", "inbox"], input);
  insist(exitCode === 0 || exitCode === 2, `exit code ${exitCode}: ${stderr}`);
  if (exitCode === 2) {
    insist(/^error line \d+: /.test(stderr), stderr);
    return "refused";
  }
  const collection = await world.store.collection("inbox");
  const given = input.split(/\r?\n/).filter((line) => line.trim() !== "");
  const written = given.map((line) => JSON.parse(line.replace(/^\ufeff/, "")) as Json);
  const { records: read } = await collection.get({
    ids: written.map(({ id }) => id as string),
    fresh: true,
    embeddings: true,
  });
  for (const record of written) {
    const found = read.find(({ id }) => id === record.id);
    insist(found !== undefined, `"${record.id}" is not there`);
    insist(
      canonicalJson(found.metadata) === canonicalJson(record.metadata ?? {}),
      "other metadata",
    );
    insist(found.document === (record.document ?? null), "another document");
    const vector = Array.from(record.embedding as number[], Math.fround);
    insist(canonicalJson([...(found.embedding ?? [])]) === canonicalJson(vector), "another vector");
  }
  if (random.chance(0.1)) await world.store.compact();
  return "taken";
};

function randomFilter(random: SeededRandom, depth: number): Json {
  if (depth > 0 && random.chance(0.4)) {
    const members = Array.from({ length: 1 + random.int(3) }, () =>
      randomFilter(random, depth - 1),
    );
    return { [random.pick(["$and", "$or"])]: members };
  }
  const value = () => random.pick(["Kino", 5, true, 0, "5", -1.5]);
  const key = random.pick(KEYS);
  if (random.chance(0.4)) return { [key]: value() };
  const operator = random.pick(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin"]);
  const operand = operator.endsWith("in") ? [value()] : value();
  return { [key]: { [operator]: operand } };
}

/** A filter is refused as `invalid`, or answers for every record as a naive evaluator does. */
export const fuzzFilter: FuzzTarget = async (random) => {
  let filter: unknown;
  try {
    filter = JSON.parse(oddText(random, randomFilter(random, 4)));
  } catch {
    return "no JSON";
  }
  let where: ReturnType<typeof parseWhere>;
  try {
    where = parseWhere(filter);
  } catch (error) {
    insist(isSiltError(error, "invalid"), String(error));
    insist(error.message.length < 1_000, `a message of ${error.message.length}`);
    return "refused";
  }
  for (let left = 20; left > 0; left--) {
    // As a reader has it: parsed from what is stored.
    const metadata = JSON.parse(canonicalJson(randomMetadata(random))) as Metadata;
    const told = matchesWhere(where, metadata);
    insist(
      told === naively(filter as Json, metadata),
      `${canonicalJson(filter)} on ${canonicalJson(metadata)}`,
    );
  }
  return "taken";
};

/** By the words of the documentation, one operator at a time. */
function naively(filter: Json, metadata: Metadata): boolean {
  return Object.entries(filter).every(([key, condition]) => {
    if (key === "$and") return (condition as Json[]).every((part) => naively(part, metadata));
    if (key === "$or") return (condition as Json[]).some((part) => naively(part, metadata));
    const value = new Map<string, unknown>(Object.entries(metadata)).get(key);
    const comparisons =
      condition !== null && typeof condition === "object" ? condition : { $eq: condition };
    return Object.entries(comparisons).every(([operator, operand]) =>
      compares(operator, value, operand),
    );
  });
}

function compares(operator: string, value: unknown, operand: unknown): boolean {
  const isOrdered = typeof value === "number" && typeof operand === "number";
  switch (operator) {
    case "$eq":
      return value === operand;
    case "$ne":
      return value !== operand;
    case "$in":
      return (operand as unknown[]).some((one) => one === value);
    case "$nin":
      return !(operand as unknown[]).some((one) => one === value);
    case "$gt":
      return isOrdered && value > operand;
    case "$gte":
      return isOrdered && value >= operand;
    case "$lt":
      return isOrdered && value < operand;
    case "$lte":
      return isOrdered && value <= operand;
    default:
      throw new Error(`the operator "${operator}" was taken`);
  }
}

/** The same for documents. */
export const fuzzDocumentFilter: FuzzTarget = async (random) => {
  const text = random.pick(["text", "5", "(a+)+$", "\u0000", "x".repeat(5_000)]);
  const leaf = { [random.pick(["$contains", "$not_contains"])]: text };
  const filter = mutateJson(
    random,
    random.chance(0.5) ? leaf : { $or: [leaf, { $contains: "t" }] },
  );
  try {
    const where = parseWhereDocument(filter);
    for (const document of [null, "", "text 5", "a".repeat(50_000)])
      matchesDocument(where, document);
    return "taken";
  } catch (error) {
    insist(isSiltError(error, "invalid"), String(error));
    return "refused";
  }
};

export const fuzzSidecar: FuzzTarget = async (random) => {
  const text = oddText(random, {
    context: "receipt of a shop",
    ...randomMetadata(random),
    odd: oddValue(random),
  });
  try {
    const { context, metadata } = parseSidecar("a.png.json", text);
    const given = Object.entries(JSON.parse(text) as Json).filter(([key]) => key !== "context");
    insist(canonicalJson(metadata) === canonicalJson(Object.fromEntries(given)), "other metadata");
    insist(context === undefined || typeof context === "string", "a context that is no text");
    return "taken";
  } catch (error) {
    insist(isSiltError(error, "invalid"), String(error));
    insist(error.message.startsWith('Cannot read "a.png.json": '), error.message);
    return "refused";
  }
};
