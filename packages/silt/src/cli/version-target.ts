/** `[COLLECTION] VERSION` as commands about one version take it. */
import type { Store } from "../store.ts";
import { refuseUsage } from "./command-run.ts";

/** The only collection of a store may go without saying. */
export async function targetOf(
  store: Store,
  words: readonly string[],
): Promise<readonly [name: string, version: number]> {
  const [first = "", second] = words;
  const text = second ?? first;
  const version = Number(text);
  if (words.length > 2 || !/^\d+$/.test(text) || !Number.isSafeInteger(version)) {
    refuseUsage(`Cannot use version "${words.join(" ")}": expected [COLLECTION] VERSION`);
  }
  if (second !== undefined) return [first, version];
  const names = await store.collections();
  const [only, ...others] = names;
  if (only !== undefined && others.length === 0) return [only, version];
  return refuseUsage(
    `Cannot use version ${version}: which collection? There ${names.length === 0 ? "is none yet" : `are ${names.join(", ")}`}`,
  );
}
