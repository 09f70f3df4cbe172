/** Values of options, parsed where they come in; each refusal says what was expected. */
import type { VersionSelection } from "@silt/reader";
import { InvalidArgumentError } from "commander";
import { refuseUsage } from "./command-run.ts";

export function parseCount(text: string): number {
  const number = Number(text);
  if (text.trim() !== "" && Number.isSafeInteger(number) && number >= 1) return number;
  throw new InvalidArgumentError(`expected a whole number from 1.`);
}

export function parseJsonObject(text: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InvalidArgumentError(`expected JSON (${(error as Error).message}).`);
  }
  if (value !== null && typeof value === "object" && !Array.isArray(value)) return value;
  throw new InvalidArgumentError(`expected a JSON object such as {"shop": "Kino"}.`);
}

/** For an option that may be given several times. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** The option's name of each choice, for those that exclude each other. */
export function givenOf(options: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.keys(options).filter((name) => options[name] !== undefined);
}

/** A version: its number, or a number for each shard, like `0-of-2=3,1-of-2=5`. */
export function parseVersion(text: string): VersionSelection {
  if (/^\d+$/.test(text)) return parseVersionNumber(text);
  const parts = text.split(",").map((part) => /^(\d+-of-\d+)=(\d+)$/.exec(part.trim()));
  if (parts.some((part) => part === null)) {
    throw new InvalidArgumentError(
      "expected a version such as 3, or one for each shard such as 0-of-2=3,1-of-2=5.",
    );
  }
  return Object.fromEntries(
    parts.map((part) => [part?.[1] as string, parseVersionNumber(part?.[2] as string)]),
  );
}

export function parseVersionNumber(text: string): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(number)) return number;
  throw new InvalidArgumentError("expected the number of a version.");
}

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A duration such as `90s`, `15m`, `1h` or `7d`, in milliseconds. */
export function parseDuration(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim()) ?? [];
  const ms = Math.round(Number(number) * (UNITS_MS[unit ?? ""] ?? Number.NaN));
  if (Number.isSafeInteger(ms)) return ms;
  throw new InvalidArgumentError("expected a duration such as 90s, 15m, 1h or 7d.");
}

/** {@link parseDuration}, or `forever`; commander takes a null for no value. */
export const parseDurationOrForever = (text: string): number | "forever" =>
  text === "forever" ? text : parseDuration(text);

export const VERSION_HELP =
  "an older version: its number, or 0-of-2=3,1-of-2=5 where there are shards";

/** What is pending follows the newest version alone. */
export function refuseFreshVersion(
  fresh: boolean | undefined,
  version: VersionSelection | undefined,
): void {
  if (fresh !== true || version === undefined) return;
  refuseUsage("Cannot read: --fresh and --version are given, expected one");
}
