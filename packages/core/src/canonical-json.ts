import { SiltError } from "./silt-error.ts";

/** Nothing that Silt writes is nested deeper than ten; what comes from outside must not overflow the stack. */
export const JSON_DEPTH_MAX = 64;

/**
 * Canonical JSON by RFC 8785: object keys sorted by UTF-16 code units, no white space, numbers and
 * strings as ECMAScript serializes them. Equal values give equal bytes, so they can be hashed. Throws
 * `invalid` for what is nested too deep.
 */
export function canonicalJson(value: unknown): string {
  return canonicalAt(value, 0);
}

function canonicalAt(value: unknown, depth: number): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (depth >= JSON_DEPTH_MAX) {
    throw new SiltError("invalid", `Cannot encode JSON: it is nested over ${JSON_DEPTH_MAX} deep`);
  }
  let text = "";
  if (Array.isArray(value)) {
    for (const member of value) text += `${text && ","}${canonicalAt(member, depth + 1)}`;
    return `[${text}]`;
  }
  const members = value as Readonly<Record<string, unknown>>;
  // The order of sort() is that of UTF-16 code units.
  for (const key of Object.keys(members).sort()) {
    const member = members[key];
    if (member === undefined) continue;
    text += `${text && ","}${JSON.stringify(key)}:${canonicalAt(member, depth + 1)}`;
  }
  return `{${text}}`;
}
