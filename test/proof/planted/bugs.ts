/** The planted bugs: each is a mistake that somebody made, or nearly made, in a system of this kind. */
import type { PlantedBug } from "./bug.ts";
import { COMMIT_BUGS } from "./commit-bugs.ts";
import { HISTORY_BUGS } from "./history-bugs.ts";
import { MERGE_BUGS } from "./merge-bugs.ts";
import { READ_BUGS } from "./read-bugs.ts";
import { WRITE_BUGS } from "./write-bugs.ts";

export const PLANTED_BUGS: readonly PlantedBug[] = [
  ...COMMIT_BUGS,
  ...WRITE_BUGS,
  ...MERGE_BUGS,
  ...READ_BUGS,
  ...HISTORY_BUGS,
];
