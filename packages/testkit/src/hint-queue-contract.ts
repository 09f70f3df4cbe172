import type { Hint, HintQueue } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

export interface OpenedHintQueue {
  readonly hints: HintQueue;
  dispose(): Promise<void>;
}

const hintOf = (shard: number, storeId = "store0000001"): Hint => ({
  collection: "lines",
  storeId,
  shard: `${shard}-of-8`,
});
const nameOf = (hint: Hint) => `${hint.collection}/${hint.storeId}/${hint.shard}`;

/** What every HintQueue must do. `open` gives an empty queue. */
export function hintQueueContract(name: string, open: () => Promise<OpenedHintQueue>): void {
  describe(`HintQueue: ${name}`, () => {
    let opened: OpenedHintQueue;
    let hints: HintQueue;
    beforeEach(async () => {
      opened = await open();
      hints = opened.hints;
    });
    afterEach(() => opened.dispose());

    it("receive() on an empty queue gives nothing", async () => {
      expect(await hints.receive(10)).toEqual([]);
    });

    it("a hint that was sent is received whole", async () => {
      await hints.send(hintOf(1));
      expect(await hints.receive(10)).toEqual([hintOf(1)]);
    });

    it("F16 hints that were sent often are received once in a batch", async () => {
      for (let time = 0; time < 5; time++) {
        for (const shard of [0, 1, 2]) await hints.send(hintOf(shard));
      }
      const names = (await hints.receive(10)).map(nameOf);
      expect(names.sort()).toEqual([0, 1, 2].map((shard) => nameOf(hintOf(shard))));
    });

    it("one shard of two stores is two hints", async () => {
      await hints.send(hintOf(0));
      await hints.send(hintOf(0, "store0000002"));
      expect(await hints.receive(10)).toHaveLength(2);
    });

    it("receive() takes at most limit, and what it took is off the queue", async () => {
      const sent = [0, 1, 2, 3, 4].map((shard) => hintOf(shard));
      for (const hint of sent) await hints.send(hint);
      const first = await hints.receive(3);
      expect(first.length).toBeLessThanOrEqual(3);
      const rest: Hint[] = [];
      for (let round = 0; round < 10; round++) rest.push(...(await hints.receive(3)));
      const received = [...first, ...rest].map(nameOf);
      expect(received.sort()).toEqual(sent.map(nameOf));
      expect(await hints.receive(10)).toEqual([]);
    });

    it("a hint that is sent again after it was received is received again (F59)", async () => {
      await hints.send(hintOf(0));
      await hints.receive(10);
      await hints.send(hintOf(0));
      expect(await hints.receive(10)).toEqual([hintOf(0)]);
    });

    it("concurrent receivers never get the same hint", async () => {
      for (let shard = 0; shard < 8; shard++) await hints.send(hintOf(shard));
      const batches = await Promise.all(Array.from({ length: 8 }, () => hints.receive(3)));
      const received = batches.flat().map(nameOf);
      expect(new Set(received).size).toBe(received.length);
    });
  });
}
