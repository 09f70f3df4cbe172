/** Which versions may go: pure, by the policy of the collection. */
import type { Policy, SnapshotManifest } from "./formats.ts";
import type { KnownVersion } from "./history.ts";

export type RetentionPolicy = Policy["retention"];

/** Versions that only rewrote or fenced hold the same records: for the number that is kept they are one. */
const contentOf = ({ appliedThrough, excluded }: SnapshotManifest): string =>
  `${appliedThrough} ${excluded.length}`;

/**
 * The versions that may go, oldest first, up to the first that retention keeps: so that each version that
 * is left can be reached, by the chain or, when it is pinned, by its item in the log. The current one, the
 * newest that differ, and those that were current a short time ago are kept. Age counts from when the next version took
 * their place, not from when they were made: one that was current for a year is new among the old.
 */
export function expiredVersions(
  newestFirst: readonly KnownVersion[],
  policy: RetentionPolicy,
  nowMs: number,
): readonly KnownVersion[] {
  const [current, ...older] = newestFirst;
  if (current === undefined) return [];
  const contents = new Set([contentOf(current.manifest)]);
  const isKept = ({ manifest, supersededAt }: KnownVersion): boolean => {
    const isNew = !contents.has(contentOf(manifest));
    contents.add(contentOf(manifest));
    const counts = isNew && contents.size <= policy.versionsKept;
    const isYoung =
      supersededAt !== null && nowMs - Date.parse(supersededAt) < policy.versionsKeptMs;
    return counts || isYoung;
  };
  const unpinned = older.filter(({ pins }) => pins.length === 0);
  const lastKept = unpinned.map(isKept).lastIndexOf(true);
  return unpinned.slice(lastKept + 1).reverse();
}
