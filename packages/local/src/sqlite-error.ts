import { reasonOf, SiltError } from "@silt/core";
import { folderError } from "./folder-error.ts";

const NEEDS_WRITER =
  "it cannot be opened read-only while no writer has it open; run as the owner of the store";
const ADVICE: readonly (readonly [prefix: string, advice: string])[] = [
  ["SQLITE_BUSY", "other processes kept it locked; try again"],
  ["SQLITE_FULL", "the disk is full; free some space and try again"],
  ["SQLITE_READONLY_CANTINIT", NEEDS_WRITER],
  ["SQLITE_READONLY_DIRECTORY", NEEDS_WRITER],
  ["SQLITE_CANTOPEN", NEEDS_WRITER],
  ["SQLITE_READONLY", "it is read-only for this user; run as the owner of the store"],
  ["SQLITE_PERM", "permission denied; run as the owner of the store"],
];

/** The extended result code of a SQLite error, e.g. `SQLITE_BUSY_SNAPSHOT`. */
export function sqliteCodeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && code.startsWith("SQLITE_") ? code : undefined;
}

/** True when another connection was in the way: nothing was changed, so it may be tried again. */
export function isBusy(error: unknown): boolean {
  return sqliteCodeOf(error)?.startsWith("SQLITE_BUSY") ?? false;
}

/** What a failure of the log database means: damage, the environment, or a bug. */
export function logDatabaseError(action: string, path: string, cause: unknown): SiltError {
  if (cause instanceof SiltError) return cause;
  if (typeof (cause as NodeJS.ErrnoException).errno === "number") {
    return folderError(action, path, cause);
  }
  const code = sqliteCodeOf(cause);
  const damaged = code === "SQLITE_NOTADB" || code?.startsWith("SQLITE_CORRUPT");
  if (damaged) {
    return new SiltError(
      "corrupt",
      `Cannot ${action} in "${path}": the file is damaged (${reasonOf(cause)}); restore it from a backup`,
      { cause },
    );
  }
  const ours = ["SQLITE_ERROR", "SQLITE_MISUSE", "SQLITE_CONSTRAINT", "SQLITE_RANGE"];
  if (code === undefined || ours.some((bug) => code.startsWith(bug))) {
    return new SiltError("internal", `Cannot ${action} in "${path}": ${reasonOf(cause)}`, {
      cause,
    });
  }
  const advice = ADVICE.find(([prefix]) => code.startsWith(prefix))?.[1];
  return new SiltError(
    "unavailable",
    `Cannot ${action} in "${path}": ${advice ?? `${reasonOf(cause)} (${code}); try again`}`,
    { cause },
  );
}
