import { reasonOf, SiltError } from "@silt/core";

const ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full; free some space and try again",
  EDQUOT: "the disk quota is used up; free some space and try again",
  EACCES: "permission denied; run as the owner of the store, or change its permissions",
  EPERM: "permission denied; run as the owner of the store, or change its permissions",
  EROFS: "the file system is mounted read-only; mount it writable and try again",
  EIO: "the disk reported an error; check it before trying again",
  EMFILE: "too many files are open; raise the limit (ulimit -n) and try again",
  ENFILE: "too many files are open on this machine; try again later",
};

/** The error code of a failed file operation, e.g. `ENOENT`. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}

/** Only these say that nothing is there; a denied or failing disk never does. */
export function saysAbsent(error: unknown): boolean {
  const code = codeOf(error);
  return code === "ENOENT" || code === "ENOTDIR";
}

/** What a failed file operation means to the caller: the environment, unless the name was refused. */
export function folderError(action: string, name: string, cause: unknown): SiltError {
  if (cause instanceof SiltError) return cause;
  const code = codeOf(cause);
  if (code === "ENAMETOOLONG") {
    return new SiltError("invalid", `Cannot ${action} "${name}": the name is too long`, { cause });
  }
  const advice = (code && ADVICE[code]) ?? `${reasonOf(cause)}; try again`;
  return new SiltError("unavailable", `Cannot ${action} "${name}": ${advice}`, { cause });
}
