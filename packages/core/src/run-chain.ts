import { sha256Of } from "./formats.ts";

/** Rolling hash of an empty log of a shard. */
export const EMPTY_RUNS_HASH = sha256Of("");

/** The rolling hash after one more run: a restored or foreign log cannot continue it by chance. */
export function nextRunsHash(previous: string, runId: string): string {
  return sha256Of(`${previous}\n${runId}`);
}
