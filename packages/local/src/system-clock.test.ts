import { describe, expect, it } from "vitest";
import { systemClock } from "./system-clock.ts";
import { systemRandom } from "./system-random.ts";

const HOUR_MS = 3_600_000;

describe("systemClock", () => {
  it("a sleep ends, or rejects with the signal's reason when it is aborted", async () => {
    await systemClock.sleep(0);
    const abort = new AbortController();
    const sleeping = systemClock.sleep(HOUR_MS, abort.signal);
    abort.abort("enough");
    await expect(sleeping).rejects.toBe("enough");
    await expect(systemClock.sleep(HOUR_MS, abort.signal)).rejects.toBe("enough");
  });

  it("every() repeats until it is stopped", async () => {
    let fired = 0;
    await new Promise<void>((resolve) => {
      const stop = systemClock.every(1, () => {
        fired += 1;
        if (fired < 3) return;
        stop();
        resolve();
      });
      // every() alone keeps no process alive; this wait does.
      void systemClock.sleep(HOUR_MS, AbortSignal.timeout(5_000)).catch(() => resolve());
    });
    expect(fired).toBe(3);
  });
});

describe("systemRandom", () => {
  it("gives as many bytes as asked, and fractions in [0, 1)", () => {
    expect(systemRandom.bytes(16)).toHaveLength(16);
    expect(systemRandom.bytes(16)).not.toEqual(systemRandom.bytes(16));
    for (let draw = 0; draw < 1_000; draw++) {
      const fraction = systemRandom.fraction();
      expect(fraction).toBeGreaterThanOrEqual(0);
      expect(fraction).toBeLessThan(1);
    }
  });
});
