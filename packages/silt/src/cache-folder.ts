import { homedir, tmpdir } from "node:os";
import { join } from "node:path";

/** Where readers of this user keep verified segments, by the conventions of the platform. */
export function defaultCacheFolder(env: NodeJS.ProcessEnv = {}): string {
  if (env.SILT_CACHE) return env.SILT_CACHE;
  if (env.XDG_CACHE_HOME) return join(env.XDG_CACHE_HOME, "silt");
  const home = homedir();
  if (home === "" || home === "/") return join(tmpdir(), "silt-cache");
  return process.platform === "darwin"
    ? join(home, "Library", "Caches", "silt")
    : join(home, ".cache", "silt");
}
