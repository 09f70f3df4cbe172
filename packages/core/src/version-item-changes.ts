/**
 * What becomes of a version's item in the log, decided by what it is. Pure; whoever keeps the log writes
 * the decision on condition that the item is still the one that was decided by.
 */
import { newVersionItem, type Pin, type VersionItem, type VersionRef } from "./formats.ts";
import type { PinOutcome, RetireOutcome, VersionKey } from "./ports.ts";

export interface VersionItemChange<Answer> {
  readonly answer: Answer;
  /** The item afterwards; undefined when nothing is to be written. */
  readonly item?: VersionItem;
}

const keyOf = ({ version, commitId }: VersionKey): VersionKey => ({ version, commitId });

/** Holds a version for an owner, once; one that is retired stays retired. */
export function pinItem(
  found: VersionItem | undefined,
  version: VersionRef,
  pin: Pin,
): VersionItemChange<PinOutcome> {
  const item = found ?? newVersionItem(keyOf(version));
  if (item.retired) return { answer: { outcome: "retired" } };
  const answer = { outcome: "pinned" } as const;
  if (item.pins.some(({ owner }) => owner === pin.owner)) return { answer };
  return { answer, item: { ...item, manifest: version.manifest, pins: [...item.pins, pin] } };
}

/** Lets go what an owner holds; one that holds nothing changes nothing. */
export function unpinItem(
  found: VersionItem | undefined,
  owner: string,
): VersionItemChange<undefined> {
  const pins = found?.pins.filter((pin) => pin.owner !== owner) ?? [];
  if (found === undefined || pins.length === found.pins.length) return { answer: undefined };
  return { answer: undefined, item: { ...found, pins } };
}

/** Gives a version up for good, unless somebody holds it. */
export function retireItem(
  found: VersionItem | undefined,
  key: VersionKey,
): VersionItemChange<RetireOutcome> {
  const item = found ?? newVersionItem(keyOf(key));
  if (item.pins.length > 0) return { answer: { outcome: "pinned" } };
  const answer = { outcome: "retired" } as const;
  return item.retired ? { answer } : { answer, item: { ...item, retired: true } };
}
