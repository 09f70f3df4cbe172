import { createSeededRandom } from "@silt/testkit";
import { describe, expect, it } from "vitest";
import {
  FILTER_DEPTH_MAX,
  FILTER_TERMS_MAX,
  FILTER_VALUES_MAX,
  matchesDocument,
  matchesWhere,
  parseWhere,
  parseWhereDocument,
  whereKeys,
} from "./filter.ts";
import type { Metadata, MetadataValue } from "./row.ts";
import { isSiltError } from "./silt-error.ts";

const matches = (where: unknown, metadata: Metadata) => matchesWhere(parseWhere(where), metadata);

const seeded = (seed: number) => createSeededRandom(seed).fraction;

function refusal(parse: () => unknown): string {
  try {
    parse();
  } catch (error) {
    if (isSiltError(error, "invalid")) return error.message;
    throw error;
  }
  return "accepted";
}

describe("matchesWhere()", () => {
  // Each row: operator, operand, and the answer for each stored value, in the order of `stored`.
  const stored: readonly Metadata[] = [
    {},
    { k: 1 },
    { k: 2 },
    { k: "1" },
    { k: "b" },
    { k: true },
    { k: false },
  ];
  it.each([
    ["$eq", 1, [0, 1, 0, 0, 0, 0, 0]],
    ["$eq", "1", [0, 0, 0, 1, 0, 0, 0]],
    ["$eq", true, [0, 0, 0, 0, 0, 1, 0]],
    ["$ne", 1, [1, 0, 1, 1, 1, 1, 1]],
    ["$ne", "b", [1, 1, 1, 1, 0, 1, 1]],
    ["$ne", false, [1, 1, 1, 1, 1, 1, 0]],
    ["$gt", 1, [0, 0, 1, 0, 0, 0, 0]],
    ["$gte", 1, [0, 1, 1, 0, 0, 0, 0]],
    ["$lt", 2, [0, 1, 0, 0, 0, 0, 0]],
    ["$lte", 2, [0, 1, 1, 0, 0, 0, 0]],
    ["$in", [2, 3], [0, 0, 1, 0, 0, 0, 0]],
    ["$in", ["1", "b"], [0, 0, 0, 1, 1, 0, 0]],
    ["$in", [false], [0, 0, 0, 0, 0, 0, 1]],
    ["$nin", [1, 2], [1, 0, 0, 1, 1, 1, 1]],
    ["$nin", ["1"], [1, 1, 1, 0, 1, 1, 1]],
    ["$nin", [true], [1, 1, 1, 1, 1, 0, 1]],
  ])(
    "%s %j compares within one type; only negations match a missing key",
    (name, value, answers) => {
      const given = stored.map((metadata) => Number(matches({ k: { [name]: value } }, metadata)));
      expect(given).toEqual(answers);
    },
  );

  it("takes a bare value as $eq, and several keys or operators as $and", () => {
    const where = { shop: "Kino", total: { $gte: 5, $lt: 9 } };
    expect(matches(where, { shop: "Kino", total: 5 })).toBe(true);
    expect(matches(where, { shop: "Kino", total: 9 })).toBe(false);
    expect(matches(where, { shop: "Bar", total: 5 })).toBe(false);
  });

  it("nests $and and $or", () => {
    const where = { $or: [{ a: 1 }, { $and: [{ b: 2 }, { c: { $ne: 3 } }] }] };
    expect(matches(where, { a: 1 })).toBe(true);
    expect(matches(where, { b: 2 })).toBe(true);
    expect(matches(where, { b: 2, c: 3 })).toBe(false);
  });

  it("looks up own keys only: prototype names are keys like any other", () => {
    for (const key of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      const where = JSON.parse(`{"${key}": {"$in": ["x"]}}`);
      const absent = JSON.parse(`{"${key}": {"$ne": "x"}}`);
      const own: Metadata = JSON.parse(`{"${key}": "x"}`);
      expect([key, matches(where, {}), matches(where, own)]).toEqual([key, false, true]);
      expect([key, matches(absent, {}), matches(absent, own)]).toEqual([key, true, false]);
      expect(matchesWhere(parseWhere(where), own, {})).toBe(true);
      expect(whereKeys(parseWhere(where))).toEqual([key]);
    }
    expect(Object.hasOwn(Object.prototype, "x")).toBe(false);
  });

  it("lets extra keys go before the metadata's", () => {
    const where = parseWhere({ "#parent": "a" });
    expect(matchesWhere(where, {}, { "#parent": "a" })).toBe(true);
    expect(matchesWhere(where, { "#parent": "a" }, { "#parent": "b" })).toBe(false);
    expect(matchesWhere(where, { "#parent": "a" }, {})).toBe(true);
  });
});

describe("matchesWhere() against a naive evaluator", () => {
  const VALUES: readonly MetadataValue[] = [0, 1, -1.5, "", "a", "1", true, false];
  const KEYS = ["a", "b", "constructor"];

  /** Reads the unparsed filter directly, by the words of Chroma's documentation. */
  function naive(where: Record<string, unknown>, metadata: Metadata): boolean {
    return Object.entries(where).every(([key, condition]) => {
      if (key === "$and") return (condition as (typeof where)[]).every((x) => naive(x, metadata));
      if (key === "$or") return (condition as (typeof where)[]).some((x) => naive(x, metadata));
      const value = new Map(Object.entries(metadata)).get(key);
      const tests = typeof condition === "object" ? condition : { $eq: condition };
      return Object.entries(tests as object).every(([operator, operand]) => {
        const list = [operand].flat();
        const found = list.some((x) => x === value && typeof x === typeof value);
        if (operator === "$eq" || operator === "$in") return found;
        if (operator === "$ne" || operator === "$nin") return !found;
        if (typeof value !== "number") return false;
        const sign = Math.sign(value - operand);
        return operator === "$gt"
          ? sign > 0
          : operator === "$gte"
            ? sign >= 0
            : operator === "$lt"
              ? sign < 0
              : sign <= 0;
      });
    });
  }

  it("agrees on 20,000 random filters and records", () => {
    const random = seeded(20_261_124);
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
    const condition = (): unknown => {
      const value = pick(VALUES);
      const operator = pick(["bare", "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin"]);
      if (operator === "bare") return value;
      if (operator === "$eq" || operator === "$ne") return { [operator]: value };
      if (!operator.endsWith("in")) return { [operator]: pick([0, 1, -1.5]), $lt: 7 };
      return { [operator]: VALUES.filter((x) => typeof x === typeof value && random() < 0.7) };
    };
    const filter = (depth: number): Record<string, unknown> => {
      const member = () => filter(depth + 1);
      if (depth < 4 && random() < 0.4) {
        return { [pick(["$and", "$or"])]: Array.from({ length: 1 + random() * 3 }, member) };
      }
      const keys = KEYS.filter(() => random() < 0.4);
      return Object.fromEntries((keys.length > 0 ? keys : ["a"]).map((key) => [key, condition()]));
    };
    let compared = 0;
    const answers = [0, 0];
    while (compared < 20_000) {
      const where = filter(0);
      if (JSON.stringify(where).includes("[]")) continue;
      const present = KEYS.filter(() => random() < 0.7);
      const metadata = Object.fromEntries(present.map((key) => [key, pick(VALUES)]));
      const expected = naive(where, metadata);
      expect([where, metadata, matches(where, metadata)]).toEqual([where, metadata, expected]);
      answers[Number(expected)] = (answers[Number(expected)] as number) + 1;
      compared += 1;
    }
    expect(Math.min(...answers)).toBeGreaterThan(4_000);
  });
});

describe("parseWhere()", () => {
  it.each([
    [null, "not an object"],
    [[], "not an object"],
    ["shop", "not an object"],
    [{}, "is empty"],
    [{ a: {} }, "is empty"],
    [{ a: null }, "not an object"],
    [{ a: [1] }, "not an object"],
    [{ a: { $gth: 1 } }, 'unknown operator "$gth", expected one of $eq $ne $gt $gte $lt $lte $in'],
    [{ a: { b: 1 } }, 'unknown operator "b"'],
    [{ a: { $contains: "x" } }, 'unknown operator "$contains"'],
    [{ $not: [{ a: 1 }] }, 'unknown operator "$not", expected $and or $or or a metadata key'],
    [{ a: { $gt: "1" } }, 'where.a.$gt": its value is no finite number'],
    [{ a: { $lte: true } }, "no finite number"],
    [{ a: { $eq: null } }, "no string, finite number or boolean"],
    [{ a: { $eq: Number.NaN } }, "no string, finite number or boolean"],
    [{ a: { $in: [] } }, "not a list of at least one value"],
    [{ a: { $in: "abc" } }, "not a list of at least one value"],
    [{ a: { $in: [1, "1"] } }, "not all strings"],
    [{ a: { $nin: [1, Number.POSITIVE_INFINITY] } }, "not all strings"],
    [{ $and: [] }, "at least one filter"],
    [{ $or: { a: 1 } }, "at least one filter"],
    [{ $and: [{ a: 1 }, {}] }, 'where.$and[1]": it is empty'],
  ])("refuses %j and says where and what it expected", (input, reason) => {
    expect(refusal(() => parseWhere(input))).toContain(reason);
  });

  it("bounds depth, terms and values, and says the limit", () => {
    const nested = (depth: number): unknown =>
      depth === 0 ? { a: 1 } : { $and: [nested(depth - 1)] };
    const wide = (count: number) => ({ $or: Array.from({ length: count }, () => ({ a: 1 })) });
    const list = (length: number) => ({ a: { $in: Array.from({ length }, (_, index) => index) } });
    expect(refusal(() => parseWhere(nested(FILTER_DEPTH_MAX - 1)))).toBe("accepted");
    expect(refusal(() => parseWhere(nested(FILTER_DEPTH_MAX)))).toContain("nested over 16 deep");
    expect(refusal(() => parseWhere(wide(FILTER_TERMS_MAX - 1)))).toBe("accepted");
    expect(refusal(() => parseWhere(wide(FILTER_TERMS_MAX)))).toContain("at most 1000");
    expect(refusal(() => parseWhere(list(FILTER_VALUES_MAX)))).toBe("accepted");
    expect(refusal(() => parseWhere(list(FILTER_VALUES_MAX + 1)))).toContain("at most 10000");
  });

  it("survives a filter that contains itself, and keeps its message short and well-formed", () => {
    const circle: { $and: unknown[] } = { $and: [] };
    circle.$and.push(circle);
    expect(refusal(() => parseWhere(circle))).toContain("nested over");
    const message = refusal(() => parseWhere({ [`\ud800${"x".repeat(100_000)}`]: { $zz: 1 } }));
    expect(message).toContain('unknown operator "$zz"');
    expect(message.length).toBeLessThan(500);
    expect(message.isWellFormed()).toBe(true);
  });

  it("F68 whereKeys() names each key that is used once, in order", () => {
    const where = { $or: [{ shop: "a", total: { $gt: 1, $lt: 5 } }, { $and: [{ shop: "b" }] }] };
    expect(whereKeys(parseWhere(where))).toEqual(["shop", "total"]);
  });
});

describe("whereDocument", () => {
  const matchesText = (where: unknown, document: string | null) =>
    matchesDocument(parseWhereDocument(where), document);

  it("looks for exact text, where case counts", () => {
    expect(matchesText({ $contains: "coffee" }, "two coffees")).toBe(true);
    expect(matchesText({ $contains: "Coffee" }, "two coffees")).toBe(false);
    expect(matchesText({ $contains: "%" }, "two coffees")).toBe(false);
    expect(matchesText({ $not_contains: "tea" }, "two coffees")).toBe(true);
    expect(matchesText({ $not_contains: "two" }, "two coffees")).toBe(false);
  });

  it("only negations match a record without a document", () => {
    expect(matchesText({ $contains: "a" }, null)).toBe(false);
    expect(matchesText({ $not_contains: "a" }, null)).toBe(true);
  });

  it("nests $and and $or, and takes several operators as $and", () => {
    const where = { $or: [{ $contains: "tea" }, { $contains: "two", $not_contains: "cup" }] };
    expect(matchesText(where, "two coffees")).toBe(true);
    expect(matchesText(where, "two cups")).toBe(false);
    expect(matchesText(where, "tea in two cups")).toBe(true);
    expect(matchesText({ $and: [{ $contains: "two" }, { $contains: "tea" }] }, "two")).toBe(false);
  });

  it.each([
    [{}, "is empty"],
    ["coffee", "not an object"],
    [
      { $regex: "a" },
      'unknown operator "$regex", expected one of $contains $not_contains $and $or',
    ],
    [{ text: { $contains: "a" } }, 'unknown operator "text"'],
    [{ $contains: "" }, "no text to look for"],
    [{ $contains: 5 }, "no text to look for"],
    [{ $or: [] }, "at least one filter"],
  ])("refuses %j and says what it expected", (input, reason) => {
    expect(refusal(() => parseWhereDocument(input))).toContain(reason);
  });
});
