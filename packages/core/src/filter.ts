/**
 * Chroma's `where` and `whereDocument` filters: parsed once from untrusted JSON, then matched
 * against records. As in Chroma, `{}` is refused (leave the filter out instead), `$ne`, `$nin` and
 * `$not_contains` also match what lacks the key or document, values of different types are never
 * equal, and `$gt $gte $lt $lte` compare numbers only. Beyond Chroma, several keys or operators in
 * one object mean "and", and `$and` and `$or` may have a single member.
 */
import type { Metadata, MetadataValue } from "./row.ts";
import { SiltError } from "./silt-error.ts";

const LOGIC = ["$and", "$or"] as const;
const EQUALITY = ["$eq", "$ne"] as const;
const ORDER = ["$gt", "$gte", "$lt", "$lte"] as const;
const MEMBERSHIP = ["$in", "$nin"] as const;
const CONTENT = ["$contains", "$not_contains"] as const;

export const FILTER_DEPTH_MAX = 16;
/** Comparisons and members of `$and` and `$or` in one filter. */
export const FILTER_TERMS_MAX = 1_000;
/** Values of all `$in` and `$nin` lists of one filter. */
export const FILTER_VALUES_MAX = 10_000;

interface Logic<T> {
  readonly operator: (typeof LOGIC)[number];
  readonly members: readonly T[];
}

/** A parsed metadata filter; {@link parseWhere} makes it. */
export type Where =
  | Logic<Where>
  | {
      readonly operator: (typeof EQUALITY)[number];
      readonly key: string;
      readonly value: MetadataValue;
    }
  | { readonly operator: (typeof ORDER)[number]; readonly key: string; readonly value: number }
  | {
      readonly operator: (typeof MEMBERSHIP)[number];
      readonly key: string;
      readonly values: ReadonlySet<MetadataValue>;
    };

/** A parsed document filter; {@link parseWhereDocument} makes it. */
export type WhereDocument =
  | Logic<WhereDocument>
  | { readonly operator: (typeof CONTENT)[number]; readonly text: string };

/** What is left of the limits while one filter is parsed. */
interface Budget {
  terms: number;
  values: number;
}

function refuse(path: string, problem: string): never {
  throw new SiltError("invalid", `Cannot use filter "${path}": ${problem}`);
}

const isOneOf = <T extends string>(known: readonly T[], name: string): name is T =>
  (known as readonly string[]).includes(name);

/** A name from outside as it may stand in a message: short, and well-formed. */
function shown(name: string): string {
  return (name.length > 40 ? `${name.slice(0, 40)}…` : name).toWellFormed();
}

const pathOf = (path: string, name: string) => `${path}.${shown(name)}`.slice(-200).toWellFormed();

function entriesOf(input: unknown, path: string): readonly (readonly [string, unknown])[] {
  if (input === null || typeof input !== "object" || Array.isArray(input)) {
    refuse(path, "it is not an object, expected one like {…}");
  }
  const entries = Object.entries(input);
  if (entries.length === 0) refuse(path, "it is empty, expected a condition or no filter at all");
  return entries;
}

function spend(budget: Budget, what: keyof Budget, count: number, path: string): void {
  budget[what] -= count;
  if (budget[what] >= 0) return;
  const limit = what === "terms" ? FILTER_TERMS_MAX : FILTER_VALUES_MAX;
  refuse(path, `it has too many ${what}, expected at most ${limit} in one filter`);
}

/** Parses the members of `$and` or `$or`. */
function parseMembers<T>(
  operator: (typeof LOGIC)[number],
  input: unknown,
  path: string,
  depth: number,
  parse: (member: unknown, path: string, depth: number) => T,
): Logic<T> {
  if (!Array.isArray(input) || input.length === 0) {
    refuse(path, `${operator} needs a list of at least one filter`);
  }
  if (depth >= FILTER_DEPTH_MAX) refuse(path, `it is nested over ${FILTER_DEPTH_MAX} deep`);
  const members = input.map((member, index) => parse(member, `${path}[${index}]`, depth + 1));
  return { operator, members };
}

function allOf<T>(members: readonly T[]): T | Logic<T> {
  return members.length === 1 ? (members[0] as T) : { operator: "$and", members };
}

function isScalar(value: unknown): value is MetadataValue {
  return typeof value === "string" || typeof value === "boolean" || Number.isFinite(value);
}

function parseValues(input: unknown, path: string, budget: Budget): ReadonlySet<MetadataValue> {
  if (!Array.isArray(input) || input.length === 0) {
    refuse(path, "it is not a list of at least one value");
  }
  spend(budget, "values", input.length, path);
  const type = typeof input[0];
  if (!input.every((value) => isScalar(value) && typeof value === type)) {
    refuse(path, "its values are not all strings, all finite numbers or all booleans");
  }
  return new Set<MetadataValue>(input);
}

function parseComparison(
  key: string,
  operator: string,
  value: unknown,
  path: string,
  budget: Budget,
): Where {
  if (isOneOf(MEMBERSHIP, operator)) {
    return { operator, key, values: parseValues(value, path, budget) };
  }
  if (isOneOf(EQUALITY, operator)) {
    if (!isScalar(value)) refuse(path, "its value is no string, finite number or boolean");
    return { operator, key, value };
  }
  if (isOneOf(ORDER, operator)) {
    if (!Number.isFinite(value))
      refuse(path, `its value is no finite number, as ${operator} needs`);
    return { operator, key, value: value as number };
  }
  const known = [...EQUALITY, ...ORDER, ...MEMBERSHIP].join(" ");
  return refuse(path, `unknown operator "${shown(operator)}", expected one of ${known}`);
}

/**
 * Checks a metadata filter, e.g. `{"shop": "Kino", "total": {"$gte": 5}}`. Throws `invalid` with
 * the place and the operators known there.
 */
export function parseWhere(input: unknown): Where {
  const budget = { terms: FILTER_TERMS_MAX, values: FILTER_VALUES_MAX };
  const parse = (level: unknown, path: string, depth: number): Where => {
    const entries = entriesOf(level, path);
    const members = entries.map(([key, value]): Where => {
      const place = pathOf(path, key);
      spend(budget, "terms", 1, path);
      if (isOneOf(LOGIC, key)) return parseMembers(key, value, place, depth, parse);
      if (key.startsWith("$")) {
        const known = LOGIC.join(" or ");
        refuse(path, `unknown operator "${shown(key)}", expected ${known} or a metadata key`);
      }
      if (isScalar(value)) return { operator: "$eq", key, value };
      return allOf<Where>(
        entriesOf(value, place).map(([operator, operand]) => {
          spend(budget, "terms", 1, place);
          return parseComparison(key, operator, operand, pathOf(place, operator), budget);
        }),
      );
    });
    return allOf<Where>(members);
  };
  return parse(input, "where", 1);
}

/** Checks a document filter, e.g. `{"$contains": "coffee"}`; case counts. Throws `invalid`. */
export function parseWhereDocument(input: unknown): WhereDocument {
  const budget = { terms: FILTER_TERMS_MAX, values: FILTER_VALUES_MAX };
  const parse = (level: unknown, path: string, depth: number): WhereDocument => {
    const members = entriesOf(level, path).map(([operator, value]): WhereDocument => {
      const place = pathOf(path, operator);
      spend(budget, "terms", 1, path);
      if (isOneOf(LOGIC, operator)) return parseMembers(operator, value, place, depth, parse);
      if (!isOneOf(CONTENT, operator)) {
        const known = [...CONTENT, ...LOGIC].join(" ");
        refuse(path, `unknown operator "${shown(operator)}", expected one of ${known}`);
      }
      if (typeof value !== "string" || value === "") refuse(place, "it is no text to look for");
      return { operator, text: value };
    });
    return allOf<WhereDocument>(members);
  };
  return parse(input, "whereDocument", 1);
}

/** Only what the record itself has: `constructor` and `__proto__` are keys like any other. */
function ownValue(from: Metadata | undefined, key: string): MetadataValue | undefined {
  return from !== undefined && Object.hasOwn(from, key) ? from[key] : undefined;
}

/** True when a record matches. Keys of `extra` stand for metadata keys and go before them. */
export function matchesWhere(where: Where, metadata: Metadata, extra?: Metadata): boolean {
  switch (where.operator) {
    case "$and":
      return where.members.every((member) => matchesWhere(member, metadata, extra));
    case "$or":
      return where.members.some((member) => matchesWhere(member, metadata, extra));
  }
  const value = ownValue(extra, where.key) ?? ownValue(metadata, where.key);
  switch (where.operator) {
    case "$eq":
      return value === where.value;
    case "$ne":
      return value !== where.value;
    case "$in":
      return value !== undefined && where.values.has(value);
    case "$nin":
      return value === undefined || !where.values.has(value);
  }
  if (typeof value !== "number") return false;
  switch (where.operator) {
    case "$gt":
      return value > where.value;
    case "$gte":
      return value >= where.value;
    case "$lt":
      return value < where.value;
    case "$lte":
      return value <= where.value;
  }
}

/** True when a document, or its absence, matches. */
export function matchesDocument(where: WhereDocument, document: string | null): boolean {
  switch (where.operator) {
    case "$and":
      return where.members.every((member) => matchesDocument(member, document));
    case "$or":
      return where.members.some((member) => matchesDocument(member, document));
    case "$contains":
      return document?.includes(where.text) ?? false;
    case "$not_contains":
      return !(document?.includes(where.text) ?? false);
  }
}

/** The metadata keys that a filter looks at, each once: to warn of keys that no record has. */
export function whereKeys(where: Where): readonly string[] {
  const keys = (part: Where): readonly string[] =>
    "members" in part ? part.members.flatMap(keys) : [part.key];
  return [...new Set(keys(where))];
}
