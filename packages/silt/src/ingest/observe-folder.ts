import { relative, sep } from "node:path";
import { reasonOf, SiltError } from "@silt/core";
import { isImageName } from "@silt/embed";
import { watch } from "chokidar";
import { SIDECAR_ENDING } from "./read-source.ts";

export interface ObserveOptions {
  /** A picture that appeared, changed or went, or whose sidecar did. */
  readonly onChange: (path: string) => void;
  readonly onTrouble: (reason: string) => void;
}

/** A file that is being copied is looked at when its size has stayed the same for so long. */
const SETTLED_MS = 200;
const POLL_MS = 50;

/** Watches a folder and all below it; resolves when nothing that happens from now on is missed. */
export async function observeFolder(
  folder: string,
  { onChange, onTrouble }: ObserveOptions,
): Promise<AsyncDisposable> {
  const watcher = watch(folder, {
    ignoreInitial: true,
    ignored: (path, stats) =>
      isHidden(folder, path) || (stats?.isFile() === true && pictureOf(path) === undefined),
    awaitWriteFinish: { stabilityThreshold: SETTLED_MS, pollInterval: POLL_MS },
    ignorePermissionErrors: true,
  });
  const ready = Promise.withResolvers<void>();
  let isReady = false;
  watcher.on("ready", () => {
    isReady = true;
    ready.resolve();
  });
  watcher.on("error", (error) => {
    const reason = `Cannot watch "${folder}": ${reasonOf(error)}`;
    if (isReady) onTrouble(reason);
    else ready.reject(new SiltError("unavailable", reason, { cause: error }));
  });
  watcher.on("all", (_, path) => {
    const picture = pictureOf(path);
    if (picture !== undefined) onChange(picture);
  });
  const close = () => watcher.close();
  try {
    await ready.promise;
  } catch (error) {
    await close();
    throw error;
  }
  return { [Symbol.asyncDispose]: close };
}

/** The picture that a path is, or is the sidecar of. */
function pictureOf(path: string): string | undefined {
  const picture = path.endsWith(SIDECAR_ENDING) ? path.slice(0, -SIDECAR_ENDING.length) : path;
  return isImageName(picture) ? picture : undefined;
}

function isHidden(folder: string, path: string): boolean {
  return relative(folder, path)
    .split(sep)
    .some((part) => part.startsWith(".") && part !== "..");
}
