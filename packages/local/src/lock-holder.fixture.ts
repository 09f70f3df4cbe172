/** A process that holds a lock until it is killed: `node lock-holder.fixture.ts <path>`. */
import { writeSync } from "node:fs";
import { takeFileLock } from "./lock-file.ts";

const lock = takeFileLock(process.argv[2] ?? "");
writeSync(1, lock === undefined ? "refused" : "held");
// Pinned by a timer: without it the process would end, and the lock be collected.
setInterval(() => lock, 1_000);
