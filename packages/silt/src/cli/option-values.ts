/** Values of options, parsed where they come in; each refusal says what was expected. */
import { InvalidArgumentError } from "commander";

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
