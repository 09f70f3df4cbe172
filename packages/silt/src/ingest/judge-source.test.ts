import type { Guard } from "@silt/core";
import { describe, expect, it } from "vitest";
import { judgeSource, type SourceFacts } from "./judge-source.ts";

const A = "a".repeat(64);
const B = "b".repeat(64);
const PIPELINE = "silt-image-2;pipeline=auto";

const guardOf = (change: Partial<Guard> = {}): Guard => ({
  format: 1,
  requires: [],
  uri: "file:///a.png",
  family: "images",
  rev: 3,
  sourceDigest: A,
  pipelineId: PIPELINE,
  runs: [],
  failure: null,
  root: null,
  ...change,
});
const failedOn = (sourceDigest: string, change: Partial<Guard> = {}) =>
  guardOf({ failure: { sourceDigest, reason: "no picture", at: "" }, ...change });

const verdictOf = (facts: Partial<SourceFacts>) =>
  judgeSource({
    guard: guardOf(),
    digest: A,
    pipelineId: PIPELINE,
    runsStand: true,
    retryFailed: false,
    ...facts,
  });

describe("judgeSource()", () => {
  it("skips what has the same digest and pipeline and whose runs stand", () => {
    expect(verdictOf({})).toEqual({ verdict: "unchanged" });
  });

  it("extracts what is new, changed, of another pipeline, or left out by a snapshot", () => {
    expect(verdictOf({ guard: undefined })).toEqual({ verdict: "extract", why: "new" });
    const changed = { verdict: "extract", why: "changed" };
    expect(verdictOf({ digest: B })).toEqual(changed);
    expect(verdictOf({ pipelineId: "silt-image-2;pipeline=text" })).toEqual(changed);
    expect(verdictOf({ runsStand: false })).toEqual(changed);
    expect(verdictOf({ guard: guardOf({ sourceDigest: null }) })).toEqual({
      verdict: "extract",
      why: "new",
    });
  });

  it("an older generation changes nothing of a newer one, and takes no change for done; a newer one does", () => {
    const pipelineId = "silt-image-1;pipeline=auto";
    const outdated = { verdict: "outdated" };
    expect(verdictOf({ pipelineId, digest: B })).toEqual(outdated);
    expect(verdictOf({ pipelineId, digest: null })).toEqual(outdated);
    expect(verdictOf({ pipelineId, runsStand: false })).toEqual(outdated);
    const guard = failedOn(B);
    expect(verdictOf({ pipelineId, guard, digest: B, retryFailed: true })).toEqual(outdated);
    expect(verdictOf({ pipelineId })).toEqual({ verdict: "unchanged" });
    expect(verdictOf({ pipelineId, guard, digest: B }).verdict).toBe("failed-before");
    const deleted = guardOf({ sourceDigest: null });
    expect(verdictOf({ pipelineId, guard: deleted, digest: null })).toEqual({ verdict: "nothing" });
    const newer = "silt-image-10;pipeline=auto";
    expect(verdictOf({ pipelineId: newer })).toEqual({ verdict: "extract", why: "changed" });
  });

  it("does not try a failed picture again, unless it changed, the pipeline did, or it is asked for", () => {
    const guard = failedOn(B);
    expect(verdictOf({ guard, digest: B })).toEqual({
      verdict: "failed-before",
      reason: "no picture",
    });
    const again = { verdict: "extract", why: "changed" };
    expect(verdictOf({ guard, digest: B, retryFailed: true })).toEqual(again);
    expect(verdictOf({ guard, digest: A })).toEqual(again);
    expect(verdictOf({ guard, digest: B, pipelineId: "silt-image-3" })).toEqual(again);
  });

  it("deletes what is gone once, and knows nothing of what it never saw", () => {
    expect(verdictOf({ digest: null })).toEqual({ verdict: "delete" });
    expect(verdictOf({ digest: null, guard: failedOn(B, { sourceDigest: null }) })).toEqual({
      verdict: "delete",
    });
    const deleted = guardOf({ sourceDigest: null });
    expect(verdictOf({ digest: null, guard: deleted })).toEqual({ verdict: "nothing" });
    expect(verdictOf({ digest: null, guard: deleted, runsStand: false })).toEqual({
      verdict: "delete",
    });
    expect(verdictOf({ digest: null, guard: undefined })).toEqual({ verdict: "nothing" });
  });
});
