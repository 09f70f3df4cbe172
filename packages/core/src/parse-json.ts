/**
 * Persisted JSON: its one encoder, its seal, and the door that everything from outside comes through.
 */
import { hash } from "node:crypto";
import { z } from "zod";
import { canonicalJson } from "./canonical-json.ts";
import { shardPrefix } from "./object-keys.ts";
import type { ShardRef } from "./ports.ts";
import { reasonOf, SiltError } from "./silt-error.ts";

/** Requirements of later formats that this version understands. */
const UNDERSTOOD: ReadonlySet<string> = new Set();

/** What a later format says that this version must not ignore, whatever else it looks like. */
const requiring = z.object({ requires: z.array(z.string()) });

export function sha256Of(bytes: Uint8Array | string): string {
  return hash("sha256", bytes, "hex");
}

const encoder = new TextEncoder();

/** Canonical JSON bytes of a persisted thing. */
export function encodeJson(value: object): Uint8Array {
  return encoder.encode(canonicalJson(value));
}

/** The same thing with `selfSha256`: the hash of its canonical JSON without that field. */
export function seal<T extends object>(value: T): T & { selfSha256: string } {
  return { ...value, selfSha256: sha256Of(encodeJson(value)) };
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** More of the same would not help anyone. */
const ISSUES_MAX = 5;
const SHOWN_CHARS_MAX = 200;

/** Parses and checks; `sealed`: it holds its own hash. Throws `corrupt`, `invalid` for an unknown requirement. */
export function parseAs<T>(
  schema: z.ZodType<T>,
  what: string,
  bytes: Uint8Array,
  sealed: boolean,
): T {
  const refuse = (state: string, cause?: unknown): never => {
    throw new SiltError("corrupt", `Cannot read ${what}: ${state}`, { cause });
  };
  let text = "";
  let raw: unknown;
  try {
    text = decoder.decode(bytes);
    raw = JSON.parse(text);
  } catch (cause) {
    refuse(`it is not JSON (${reasonOf(cause)})`, cause);
  }
  checkRequires(what, raw);
  const parsed = schema.safeParse(raw);
  if (!parsed.success) {
    const { issues } = parsed.error;
    return refuse(z.prettifyError({ issues: issues.slice(0, ISSUES_MAX) }), parsed.error);
  }
  if (sealed) {
    const problem = sealProblem(raw as { selfSha256: string }, text);
    if (problem !== undefined) refuse(problem);
  }
  return parsed.data;
}

function checkRequires(what: string, raw: unknown): void {
  const requires = requiring.safeParse(raw);
  const unknown = requires.success ? requires.data.requires.filter((r) => !UNDERSTOOD.has(r)) : [];
  if (unknown.length === 0) return;
  const named = unknown.join(", ").slice(0, SHOWN_CHARS_MAX);
  throw new SiltError(
    "invalid",
    `Cannot read ${what}: it requires ${named}, which this version of Silt does not know; upgrade Silt`,
  );
}

/**
 * What is wrong with a thing that holds its own hash. Its bytes must be the canonical ones: of two
 * members of one name another reader would take the other.
 */
function sealProblem(raw: { readonly selfSha256: string }, text: string): string | undefined {
  try {
    if (canonicalJson(raw) !== text) return "its bytes are not canonical JSON";
  } catch (error) {
    return reasonOf(error);
  }
  // What is left when the member is cut out of canonical bytes is canonical too.
  const member = `"selfSha256":${JSON.stringify(raw.selfSha256)}`;
  const at = text.indexOf(member);
  const after = text.slice(at + member.length);
  const rest = after.startsWith(",")
    ? text.slice(0, at) + after.slice(1)
    : text.slice(0, at - 1) + after;
  const same = sha256Of(rest) === raw.selfSha256;
  return same ? undefined : "its content does not match its own hash";
}

const KEY_PART = /^[A-Za-z0-9._-]+$/;

/** An object that belongs to a shard lies under its prefix; a key that leads elsewhere is never followed. */
export function checkKeys(what: string, shard: ShardRef, keys: readonly string[]): void {
  const prefix = shardPrefix(shard);
  const isInside = (key: string) =>
    key.startsWith(prefix) &&
    key.split("/").every((part) => KEY_PART.test(part) && part !== "." && part !== "..");
  const stray = keys.find((key) => !isInside(key));
  if (stray === undefined) return;
  const shown = JSON.stringify(stray.slice(0, SHOWN_CHARS_MAX));
  throw new SiltError(
    "corrupt",
    `Cannot read ${what}: it names ${shown}, which lies outside of "${prefix}"`,
  );
}
