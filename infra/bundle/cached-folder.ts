import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

const KEY_CHARS = 16;

/** A short name for contents: the same parts in the same order give the same one. */
export function keyOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest("hex").slice(0, KEY_CHARS);
}

/** Fills a folder by `fill`, or finds it filled. A process that dies leaves nothing half done. */
export async function cachedFolder(
  cache: string,
  name: string,
  fill: (folder: string) => void | Promise<void>,
): Promise<string> {
  const place = join(cache, name);
  if (existsSync(place)) return place;
  mkdirSync(cache, { recursive: true });
  const staging = mkdtempSync(join(cache, ".filling-"));
  try {
    await fill(staging);
    renameSync(staging, place);
  } catch (error) {
    // Another process may have been faster: then its folder is as good.
    if (!existsSync(place)) throw error;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
  return place;
}
