import { describe, expect, it } from "vitest";
import type { KnownVersion } from "./history.ts";
import { expiredVersions, type RetentionPolicy } from "./retention.ts";

const NOW_MS = Date.UTC(2026, 0, 10);
const HOUR_MS = 3_600_000;
const KEEP_ONE: RetentionPolicy = {
  versionsKept: 1,
  versionsKeptMs: 0,
  deltasKeptMs: null,
  graceMs: 0,
};

interface Given {
  readonly version: number;
  readonly applied: number;
  /** Hours ago that the next one took its place. */
  readonly replaced?: number;
  readonly pinned?: boolean;
}

function versionOf({ version, applied, replaced, pinned }: Given): KnownVersion {
  const pin = { owner: "ann", reason: "", pinnedAt: "", baseVersion: null };
  const at = replaced === undefined ? null : new Date(NOW_MS - replaced * HOUR_MS).toISOString();
  const manifest = { version, appliedThrough: applied, excluded: [] };
  return {
    ref: { version } as KnownVersion["ref"],
    manifest: manifest as unknown as KnownVersion["manifest"],
    pins: pinned ? [pin] : [],
    supersededAt: at,
  };
}

const expired = (given: readonly Given[], policy: Partial<RetentionPolicy> = {}) =>
  expiredVersions(given.map(versionOf), { ...KEEP_ONE, ...policy }, NOW_MS).map(
    ({ ref }) => ref.version,
  );

/** Newest first; each applied one more run, and was replaced an hour after the one before. */
const plain: readonly Given[] = [4, 3, 2, 1].map((version) => ({
  version,
  applied: version,
  ...(version < 4 && { replaced: 4 - version }),
}));

describe("expiredVersions()", () => {
  it("lets all but the newest go, oldest first; never the current one", () => {
    expect(expired(plain)).toEqual([1, 2, 3]);
    expect(expired(plain, { versionsKept: 3 })).toEqual([1]);
    expect(expired(plain.slice(0, 1))).toEqual([]);
    expect(expired([])).toEqual([]);
  });

  it("F38 F40 keeps by the time since a version was replaced; one replaced in the future is new", () => {
    expect(expired(plain, { versionsKeptMs: 1.5 * HOUR_MS })).toEqual([1, 2]);
    expect(expired(plain, { versionsKeptMs: 24 * HOUR_MS })).toEqual([]);
    const ahead = [plain[0] as Given, { version: 3, applied: 3, replaced: -5 }];
    expect(expired(ahead, { versionsKeptMs: 1 })).toEqual([]);
  });

  it("rule 19 does not count versions that repeat a content", () => {
    const fenced = [5, 4, 3].map((version) => ({ version, applied: 3, replaced: 1 }));
    const older = [2, 1].map((version) => ({ version, applied: version, replaced: 2 }));
    expect(expired([...fenced, ...older], { versionsKept: 2 })).toEqual([1]);
  });

  it("I6 stops at the first that is kept: what lies above it can't go yet", () => {
    const fenced = [5, 4, 3].map((version) => ({ version, applied: 3, replaced: 1 }));
    expect(
      expired([...fenced, { version: 2, applied: 2, replaced: 2 }], { versionsKept: 2 }),
    ).toEqual([]);
  });

  it("I6 keeps what is pinned, which holds back nothing else", () => {
    const pinned = plain.map((one) => (one.version === 2 ? { ...one, pinned: true } : one));
    expect(expired(pinned)).toEqual([1, 3]);
  });
});
