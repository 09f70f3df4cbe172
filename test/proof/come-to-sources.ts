/** Another user must be able to read what he runs, wherever the sources lie. */
import { chmodSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const TOP = fileURLToPath(new URL("../..", import.meta.url));

/** Lets anyone come down to the sources, as to those in somebody's temporary folder, until disposed. */
export function letComeToSources(): Disposable {
  const closed: (readonly [path: string, mode: number])[] = [];
  for (let at = dirname(`${TOP}.`); at !== dirname(at); at = dirname(at)) {
    const mode = statSync(at).mode & 0o7777;
    if ((mode & 0o001) === 0) closed.push([at, mode]);
  }
  for (const [path, mode] of closed) chmodSync(path, mode | 0o001);
  return {
    [Symbol.dispose]() {
      for (const [path, mode] of closed) chmodSync(path, mode);
    },
  };
}
