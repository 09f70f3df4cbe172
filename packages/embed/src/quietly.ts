import { AsyncLocalStorage } from "node:async_hooks";

const METHODS = ["log", "info", "warn", "error", "debug"] as const;

const quiet = new AsyncLocalStorage<true>();
const originals = new Map<(typeof METHODS)[number], (...args: unknown[]) => void>();
let depth = 0;

function muffle(): void {
  if (depth++ > 0) return;
  const { console } = globalThis;
  for (const method of METHODS) {
    const original = console[method] as (...args: unknown[]) => void;
    originals.set(method, original);
    console[method] = (...args) => {
      if (quiet.getStore() === undefined) original.apply(console, args);
    };
  }
}

function unmuffle(): void {
  if (--depth > 0) return;
  for (const [method, original] of originals) globalThis.console[method] = original;
}

/**
 * Runs `work` with the console silent for it alone: model libraries print there, and standard
 * output belongs to JSON. Others who print meanwhile are heard; the console is put back afterwards.
 */
export async function quietly<T>(work: () => Promise<T>): Promise<T> {
  muffle();
  try {
    return await quiet.run(true, work);
  } finally {
    unmuffle();
  }
}
