import { describe, expect, it } from "vitest";
import { createVirtualClock } from "./virtual-clock.ts";

describe("createVirtualClock()", () => {
  it("advance() wakes sleepers and fires timers in the order of their times", async () => {
    const clock = createVirtualClock({ startMs: 1_000 });
    const seen: string[] = [];
    const note = (what: string) => seen.push(`${what} ${clock.nowMs()}`);
    void clock.sleep(30).then(() => note("late"));
    void clock.sleep(10).then(async () => {
      note("early");
      await clock.sleep(10);
      note("again");
    });
    const stop = clock.every(12, () => note("beat"));
    expect(clock.nextDueMs()).toBe(1_010);
    await clock.advance(29);
    expect(seen).toEqual(["early 1010", "beat 1012", "again 1020", "beat 1024"]);
    stop();
    await clock.advance(11);
    expect(seen.slice(4)).toEqual(["late 1030"]);
    expect(clock.nowMs()).toBe(1_040);
    expect(clock.nextDueMs()).toBeUndefined();
  });

  it("jump() moves the wall clock and wakes nobody", async () => {
    const clock = createVirtualClock({ startMs: 1_000 });
    let woken = false;
    void clock.sleep(10).then(() => {
      woken = true;
    });
    clock.jump(-500);
    expect(clock.nowMs()).toBe(500);
    await clock.advance(9);
    expect(woken).toBe(false);
    await clock.advance(1);
    expect(woken).toBe(true);
  });

  it("a sleep that is aborted rejects with the reason and is forgotten", async () => {
    const clock = createVirtualClock();
    const abort = new AbortController();
    const sleeping = clock.sleep(10, abort.signal);
    abort.abort("enough");
    await expect(sleeping).rejects.toBe("enough");
    await expect(clock.sleep(10, abort.signal)).rejects.toBe("enough");
    expect(clock.nextDueMs()).toBeUndefined();
  });

  it("with sleeps that skip, time moves by itself", async () => {
    const clock = createVirtualClock({ startMs: 0, sleeps: "skip" });
    await clock.sleep(40);
    await clock.sleep(2);
    expect(clock.nowMs()).toBe(42);
  });
});
