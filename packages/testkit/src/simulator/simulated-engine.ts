import type { SegmentContent, SegmentEngine } from "@silt/core";
import { createFoldWorkbench, decodeContent } from "./fold-engine.ts";

/** A segment engine whose files the checker can read by itself. */
export interface SimulatedEngine extends SegmentEngine {
  /** What a segment's bytes hold. */
  contentOf(bytes: Uint8Array): SegmentContent | Promise<SegmentContent>;
}

/** The fold instead of SQLite. */
export function createFoldEngine(): SimulatedEngine {
  const workbench = createFoldWorkbench();
  return { openWorkbench: async () => workbench, contentOf: decodeContent };
}
