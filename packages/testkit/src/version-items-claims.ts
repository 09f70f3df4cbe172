/** Claims about what a run log remembers of versions: pins hold, retirement is for good. */
import { FORMAT, type ObjectRef, type Pin, sha256Of, type VersionRef } from "@silt/core";
import { expect, it } from "vitest";
import { AT, LINES, type RunLogFixture, WORDS } from "./run-log-fixture.ts";

const pinOf = (owner: string): Pin => ({
  owner,
  reason: "an audit",
  pinnedAt: AT,
  baseVersion: null,
});

function versionOf(version: number, commitId = "c".repeat(16)): VersionRef {
  const key = `snapshots/${version}-${commitId}/manifest.json`;
  const manifest: ObjectRef = { key, bytes: 10, sha256: sha256Of(key), codec: "none" };
  return { version, commitId, manifest };
}

export function versionItemsClaims(fixture: () => RunLogFixture): void {
  const all = () => fixture().log.listVersions(LINES, { limit: 100 });

  it("pinVersion() holds a version for each owner once", async () => {
    const { log } = fixture();
    const version = versionOf(3);
    expect(await log.pinVersion(LINES, version, pinOf("ann"))).toEqual({ outcome: "pinned" });
    expect(await log.pinVersion(LINES, version, pinOf("bob"))).toEqual({ outcome: "pinned" });
    expect(await log.pinVersion(LINES, version, pinOf("ann"))).toEqual({ outcome: "pinned" });
    const pins = [pinOf("ann"), pinOf("bob")];
    expect(await all()).toEqual([
      { format: FORMAT, requires: [], retired: false, ...version, pins },
    ]);
    expect(await log.listVersions(WORDS, { limit: 100 })).toEqual([]);
  });

  it("I6 a pinned version is not retired before its last owner let go", async () => {
    const { log } = fixture();
    const version = versionOf(3);
    await log.pinVersion(LINES, version, pinOf("ann"));
    await log.pinVersion(LINES, version, pinOf("bob"));
    await log.unpinVersion(LINES, version, "ann");
    await log.unpinVersion(LINES, version, "nobody");
    expect(await log.retireVersion(LINES, version)).toEqual({ outcome: "pinned" });
    await log.unpinVersion(LINES, version, "bob");
    // What was pinned stays known: nothing else may still lead to it.
    expect(await all()).toMatchObject([{ version: 3, retired: false, pins: [] }]);
    expect(await log.retireVersion(LINES, version)).toEqual({ outcome: "retired" });
  });

  it("I6 a retired version stays retired: nobody pins it any more", async () => {
    const { log } = fixture();
    const version = versionOf(3);
    expect(await log.retireVersion(LINES, version)).toEqual({ outcome: "retired" });
    expect(await log.retireVersion(LINES, version)).toEqual({ outcome: "retired" });
    expect(await log.pinVersion(LINES, version, pinOf("ann"))).toEqual({ outcome: "retired" });
    await log.unpinVersion(LINES, version, "ann");
    expect(await all()).toMatchObject([{ retired: true, manifest: null, pins: [] }]);
    // An attempt of another commit at that version is another thing.
    const other = versionOf(3, "d".repeat(16));
    expect(await log.pinVersion(LINES, other, pinOf("ann"))).toEqual({ outcome: "pinned" });
  });

  it("exactly one of a pin and a retirement that meet has its way", async () => {
    const { log } = fixture();
    for (let version = 1; version <= 20; version++) {
      const [pinned, retired] = await Promise.all([
        log.pinVersion(LINES, versionOf(version), pinOf("ann")),
        log.retireVersion(LINES, versionOf(version)),
      ]);
      expect(pinned.outcome).toBe(retired.outcome);
    }
  });

  it("listVersions() pages by number, then by commit", async () => {
    const { log } = fixture();
    const versions = [10, 9, 100].map((version) => versionOf(version));
    const late = versionOf(9, "f".repeat(16));
    for (const version of [...versions, late]) await log.retireVersion(LINES, version);
    const seen = (await all()).map(({ version, commitId }) => ({ version, commitId }));
    expect(seen.map(({ version }) => version)).toEqual([9, 9, 10, 100]);
    const [first, second] = seen;
    const page = { ...(first && { after: first }), limit: 2 };
    expect(await log.listVersions(LINES, page)).toMatchObject([second, seen[2]]);
  });
}
