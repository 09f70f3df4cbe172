/** Storing an object in a folder: link() for what must be absent, rename() for what must match. */
import { readFileSync, renameSync, rmSync } from "node:fs";
import { link, rm } from "node:fs/promises";
import { dirname } from "node:path";
import {
  type ObjectSource,
  type PutCondition,
  type PutOutcome,
  SiltError,
  sha256Of,
} from "@silt/core";
import { doing, type FolderContext, locked, statFile } from "./folder-context.ts";
import { codeOf, saysAbsent } from "./folder-error.ts";
import { objectPath } from "./object-path.ts";
import { checkBytes, type Expected, stageBytes, stageCopy, stageInPlace } from "./stage-object.ts";
import { foldersAbove, syncFolder, syncNow } from "./sync-folder.ts";

/** Only pointers and policies are ever replaced; they are read whole while others wait. */
const REPLACE_BYTES_MAX = 64 * 1024 * 1024;
/** A delete may remove the folder that a put has just made. */
const LINK_ATTEMPTS_MAX = 10;

/** `ObjectStore.put`: stores durably, whole or not at all. */
export async function putObject(
  context: FolderContext,
  key: string,
  source: ObjectSource,
  asked: { readonly condition: PutCondition; readonly bytes: number; readonly sha256: string },
): Promise<PutOutcome> {
  const path = objectPath(context.root, key);
  const { condition, bytes, sha256 } = asked;
  const expected: Expected = { key, bytes, sha256, nowMs: context.clock.nowMs() };
  return doing(context, "store", key, () =>
    "ifMatch" in condition
      ? replace(context, path, source, condition.ifMatch, expected)
      : putIfAbsent(context, path, source, expected),
  );
}

async function putIfAbsent(
  context: FolderContext,
  path: string,
  source: ObjectSource,
  expected: Expected,
): Promise<PutOutcome> {
  const exists = (await statFile(path)) !== undefined;
  const placed = exists ? "exists" : await place(context, path, source, expected);
  // Also when it exists: whoever linked it may have died before its sync, and the caller goes on.
  await syncFolder(dirname(path));
  if (placed === "exists") return { outcome: "condition-failed" };
  return { outcome: "stored", etag: expected.sha256 };
}

/** Links the source itself where the file system can, else a checked copy. */
async function place(
  context: FolderContext,
  path: string,
  source: ObjectSource,
  expected: Expected,
): Promise<"linked" | "exists"> {
  if (source.kind === "file" && (await stageInPlace(source.path, expected)) === "staged") {
    try {
      return await linkAt(context, source.path, path, expected.key);
    } catch (error) {
      if (!["EXDEV", "EPERM", "EMLINK"].includes(codeOf(error) ?? "")) throw error;
    }
  }
  const temporary =
    source.kind === "bytes"
      ? stageBytes(context.root, source.bytes, expected)
      : await stageCopy(context.root, source.path, expected);
  try {
    return await linkAt(context, temporary, path, expected.key);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function linkAt(
  context: FolderContext,
  file: string,
  path: string,
  key: string,
): Promise<"linked" | "exists"> {
  for (let attempt = 1; ; attempt++) {
    try {
      await context.folders.make(dirname(path));
      await link(file, path);
      return "linked";
    } catch (error) {
      const code = codeOf(error);
      if (code === "EEXIST") return "exists";
      if (code === "ENOTDIR") {
        const message = `Cannot store "${key}": a part of its path is an object`;
        throw new SiltError("invalid", message, { cause: error });
      }
      if (code !== "ENOENT" || attempt === LINK_ATTEMPTS_MAX) throw error;
      for (const gone of foldersAbove(context.root, path)) context.folders.forget(gone);
    }
  }
}

/** Compares, writes, syncs and renames in one go, while every other process waits. */
async function replace(
  context: FolderContext,
  path: string,
  source: ObjectSource,
  ifMatch: string,
  expected: Expected,
): Promise<PutOutcome> {
  if (expected.bytes > REPLACE_BYTES_MAX) {
    throw new SiltError(
      "invalid",
      `Cannot replace "${expected.key}": it has ${expected.bytes} bytes, expected at most ${REPLACE_BYTES_MAX}`,
    );
  }
  const bytes = source.kind === "bytes" ? source.bytes : readFileSync(source.path);
  checkBytes(expected, bytes);
  return locked(context, "replace", expected.key, () => {
    const current = readNow(path);
    if (current === undefined) context.checkRoot();
    if (current === undefined || sha256Of(current) !== ifMatch) {
      return { outcome: "condition-failed" };
    }
    const temporary = stageBytes(context.root, bytes, expected);
    try {
      renameSync(temporary, path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
    syncNow(dirname(path));
    return { outcome: "stored", etag: expected.sha256 };
  });
}

function readNow(path: string): Uint8Array | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (saysAbsent(error) || codeOf(error) === "EISDIR") return undefined;
    throw error;
  }
}
