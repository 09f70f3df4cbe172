/** Ends the synthesis with the setting that is wrong, and what was expected. */
export function refuse(name: string, value: unknown, expected: string): never {
  throw new Error(
    `Cannot use the setting "${name}": it is ${JSON.stringify(value)}, expected ${expected}`,
  );
}
