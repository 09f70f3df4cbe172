/** `[COLLECTION] VERSION` as commands about one version take it. */
import type { Store } from "../store.ts";
import { refuseUsage } from "./command-run.ts";
import { parseVersionNumber } from "./option-values.ts";

/** The only collection of a store may go without saying. */
export async function targetOf(
  store: Store,
  words: readonly string[],
): Promise<readonly [name: string, version: number]> {
  const [first = "", second] = words;
  const number = second ?? first;
  if (words.length > 2 || !/^\d+$/.test(number)) {
    refuseUsage(`Cannot use version "${words.join(" ")}": expected [COLLECTION] VERSION`);
  }
  if (second !== undefined) return [first, parseVersionNumber(second)];
  const names = await store.collections();
  const [only, ...others] = names;
  if (only !== undefined && others.length === 0) return [only, parseVersionNumber(number)];
  return refuseUsage(
    `Cannot use version ${number}: which collection? There ${names.length === 0 ? "is none yet" : `are ${names.join(", ")}`}`,
  );
}
