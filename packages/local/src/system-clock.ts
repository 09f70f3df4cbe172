import type { Clock } from "@silt/core";

/** The clock of this machine. A sleep that is aborted rejects with the signal's reason. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const wake = () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      const abort = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(wake, ms);
      signal?.addEventListener("abort", abort, { once: true });
    }),
  every: (ms, action) => {
    const timer = setInterval(action, ms);
    // A heartbeat alone must not keep a process alive.
    timer.unref();
    return () => clearInterval(timer);
  },
};
