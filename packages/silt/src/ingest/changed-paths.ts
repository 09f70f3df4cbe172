/** Paths that changed and wait to be looked at, each once however often it changed. */
export interface ChangedPaths {
  add(path: string): void;
  /** Takes everything that waits. */
  take(): readonly string[];
  /** Resolves as soon as a path waits, or at the signal. */
  waiting(signal: AbortSignal): Promise<void>;
}

export function createChangedPaths(): ChangedPaths {
  const paths = new Set<string>();
  let arrival = Promise.withResolvers<void>();
  return {
    add(path) {
      paths.add(path);
      arrival.resolve();
    },
    take() {
      const taken = [...paths];
      paths.clear();
      arrival = Promise.withResolvers();
      return taken;
    },
    async waiting(signal) {
      if (paths.size > 0 || signal.aborted) return;
      const aborted = Promise.withResolvers<void>();
      const wake = () => aborted.resolve();
      signal.addEventListener("abort", wake, { once: true });
      await Promise.race([arrival.promise, aborted.promise]);
      signal.removeEventListener("abort", wake);
    },
  };
}
