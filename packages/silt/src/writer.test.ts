import {
  appendFileSync,
  cpSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { isSiltError, type Ports, SiltError } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Collection } from "./collection.ts";
import { type TemporaryStore, temporaryStore } from "./temporary-store.fixture.ts";
import { CollectionWriter } from "./writer.ts";

let temporary: TemporaryStore;
let notes: Collection;
beforeEach(async () => {
  temporary = await temporaryStore();
  notes = await temporary.store.collection("notes", { dimension: 2, shards: 4 });
});
afterEach(() => temporary[Symbol.asyncDispose]());

const record = (id: string, x = 1) => ({ id, embedding: [x, 1] });
const idsOf = async () => {
  const { records } = await notes.get({ fresh: true });
  return records.map(({ id }) => id);
};
const journalFiles = (folder: string) =>
  readdirSync(folder).filter((name) => name.endsWith(".journal"));

/** A writer whose log fails as told. */
async function writerWith(
  log: (real: Ports["log"]) => Partial<Ports["log"]>,
  options: { readonly journal?: string } = {},
): Promise<CollectionWriter> {
  const { context } = temporary.store;
  const failing = { ...context.ports.log, ...log(context.ports.log) };
  const ports = { ...context.ports, log: failing };
  return CollectionWriter.open({ ...context, ports }, notes.identity, options);
}

describe("CollectionWriter", () => {
  it("F63 gathers small writes into few runs, and nothing is reported before it is registered", async () => {
    const flushed: number[] = [];
    const writer = await notes.writer({
      flushRecords: 10,
      onFlush: ({ acknowledged }) => flushed.push(acknowledged),
    });
    for (let index = 0; index < 9; index++) await writer.put([record(`r${index}`)]);
    expect(flushed).toEqual([]);
    expect(await idsOf()).toEqual([]);
    await writer.put([record("r9")]);
    expect(flushed).toEqual([10]);
    expect(await idsOf()).toHaveLength(10);
    await writer[Symbol.asyncDispose]();
  });

  it("flushes what is in hand when it is closed", async () => {
    const writer = await notes.writer();
    await writer.put([record("a")]);
    await writer.delete({ id: "b" });
    expect(writer.pending).toBe(2);
    await writer[Symbol.asyncDispose]();
    expect(await idsOf()).toEqual(["a"]);
    await expect(writer.put([record("c")])).rejects.toThrow(/it is closed/);
  });

  it("flushes by time, without another call", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const flushed = Promise.withResolvers<void>();
      const writer = await notes.writer({ flushMs: 50, onFlush: () => flushed.resolve() });
      await writer.put([record("a")]);
      vi.advanceTimersByTime(51);
      vi.useRealTimers();
      await flushed.promise;
      expect(await idsOf()).toEqual(["a"]);
      await writer[Symbol.asyncDispose]();
    } finally {
      vi.useRealTimers();
    }
  });

  it("folds operations in call order", async () => {
    await using writer = await notes.writer();
    await writer.put([{ ...record("p#1"), parent: "p" }, record("x")]);
    await writer.replace("p", [record("p#2")]);
    await writer.patch([{ id: "p#2", metadata: { seen: true } }]);
    await writer.delete({ id: "x" });
    await writer.flush();
    const { records } = await notes.get({ fresh: true });
    expect(records).toMatchObject([{ id: "p#2", parent: "p", metadata: { seen: true } }]);
  });

  it("refuses a bad record and keeps what is in hand", async () => {
    await using writer = await notes.writer();
    await writer.put([record("a")]);
    await expect(writer.put([record("b"), { id: "c", embedding: [1] }])).rejects.toThrow(/dimen/);
    await expect(writer.delete({ id: "" })).rejects.toThrow(/"id" is empty/);
    await expect(writer.replace("", [])).rejects.toThrow(/"parent" is empty/);
    await writer.flush();
    expect(await idsOf()).toEqual(["a"]);
  });

  it("keeps what a failed flush had in hand below what came later, and writes it then", async () => {
    let failures = 1;
    const writer = await writerWith((real) => ({
      async commit(transaction) {
        if (failures-- > 0) throw new SiltError("corrupt", "the log is sick");
        return real.commit(transaction);
      },
    }));
    await writer.put([record("a", 1), record("b")]);
    await expect(writer.flush()).rejects.toThrow(/sick/);
    await writer.put([record("a", 2)]);
    await writer.flush();
    const { records } = await notes.get({ fresh: true, embeddings: true });
    expect(records.map(({ id }) => id)).toEqual(["a", "b"]);
    expect(records[0]?.embedding?.[0]).toBe(2);
    await writer[Symbol.asyncDispose]();
  });

  it("F51 a flush whose answer was lost for good is not applied twice", async () => {
    let lose = true;
    const writer = await writerWith((real) => ({
      async commit(transaction) {
        const outcome = await real.commit(transaction);
        if (lose) throw new SiltError("internal", "the answer was lost");
        return outcome;
      },
    }));
    await writer.put([record("a", 1)]);
    await expect(writer.flush()).rejects.toThrow(/lost/);
    lose = false;
    await notes.put([record("a", 7)]);
    const { runs } = await writer.flush();
    // What it reports is the run that was registered after all.
    expect(runs).toMatchObject([{ sequence: 1 }]);
    const { records } = await notes.get({ ids: ["a"], fresh: true, embeddings: true });
    expect(records[0]?.embedding?.[0]).toBe(7);
    await writer[Symbol.asyncDispose]();
  });
});

describe("CollectionWriter with a journal", () => {
  let journal: string;
  beforeEach(() => {
    journal = join(temporary.folder, "journal");
  });

  /** The journal as a crash at this moment would leave it: its writer has no part in the copy. */
  const crash = () => {
    const left = `${journal}-crashed`;
    cpSync(journal, left, { recursive: true });
    journal = left;
  };
  const pathOf = (name: string) => join(journal, name);

  it("F66 replays what was taken but not flushed when a writer dies", async () => {
    const writer = await notes.writer({ journal });
    await writer.put([record("a"), { ...record("p#1"), parent: "p" }]);
    await writer.patch([{ id: "a", document: "patched" }]);
    expect(await idsOf()).toEqual([]);
    crash();
    await using again = await notes.writer({ journal });
    expect(again.pending).toBe(0);
    const { records } = await notes.get({ fresh: true });
    expect(records).toMatchObject([{ id: "a", document: "patched" }, { id: "p#1" }]);
    expect(journalFiles(journal)).toEqual([]);
  });

  it("F51 replays nothing that a flush had registered before the crash", async () => {
    const dying = await writerWith(
      (real) => ({
        async commit(transaction) {
          await real.commit(transaction);
          throw new SiltError("internal", "killed after the commit");
        },
      }),
      { journal },
    );
    await dying.put([record("a", 1)]);
    await expect(dying.flush()).rejects.toThrow(/killed/);
    expect(journalFiles(journal)).toHaveLength(1);
    await notes.put([record("a", 7)]);
    crash();
    await using _again = await notes.writer({ journal });
    const { records } = await notes.get({ ids: ["a"], fresh: true, embeddings: true });
    expect(records[0]?.embedding?.[0]).toBe(7);
    expect(journalFiles(journal)).toEqual([]);
  });

  it("forgets a torn last line, which nobody was told about, and refuses damage before it", async () => {
    const writer = await notes.writer({ journal });
    await writer.put([record("a")]);
    const [name = ""] = journalFiles(journal);
    appendFileSync(join(journal, name), '0123456789abcdef {"row": {"ope');
    crash();
    await (await notes.writer({ journal }))[Symbol.asyncDispose]();
    expect(await idsOf()).toEqual(["a"]);

    const second = await notes.writer({ journal });
    await second.put([record("b")]);
    await second.put([record("c")]);
    crash();
    const path = pathOf(journalFiles(journal)[0] ?? "");
    writeFileSync(path, readFileSync(path, "utf8").replace('"id":"b"', '"id":"x"'));
    const failure = await notes.writer({ journal }).catch((error: unknown) => error);
    expect(isSiltError(failure, "corrupt")).toBe(true);
    expect(String(failure)).toMatch(/line 2 is damaged/);
  });

  it("F27 takes nothing of a call whose journal a crash tore in its middle", async () => {
    const dying = await notes.writer({ journal });
    await dying.put([{ ...record("p#1"), parent: "p" }]);
    await dying.replace("p", [record("p#2"), record("p#3")]);
    crash();
    const [name = ""] = journalFiles(journal);
    const lines = readFileSync(pathOf(name), "utf8").trimEnd().split("\n");
    const last = Buffer.byteLength(lines.at(-1) ?? "");
    truncateSync(pathOf(name), statSync(pathOf(name)).size - Math.ceil(last / 2));
    await using _again = await notes.writer({ journal });
    expect(await idsOf()).toEqual(["p#1"]);
  });

  it("F51 finds out what a replay had registered before it died, torn end or not", async () => {
    const dying = await notes.writer({ journal });
    await dying.put([record("a", 1)]);
    crash();
    const [name = ""] = journalFiles(journal);
    appendFileSync(pathOf(name), '0123456789abcdef {"oper');
    const replaying = writerWith(
      (real) => ({
        async commit(transaction) {
          await real.commit(transaction);
          throw new SiltError("internal", "killed after the commit");
        },
      }),
      { journal },
    );
    await expect(replaying).rejects.toThrow(/killed/);
    await notes.put([record("a", 7)]);
    await using _again = await notes.writer({ journal });
    const { records } = await notes.get({ ids: ["a"], fresh: true, embeddings: true });
    expect(records[0]?.embedding?.[0]).toBe(7);
  });

  it("goes on after a crash at the beginning of a file, in the middle of a flush", async () => {
    const dying = await notes.writer({ journal });
    await dying.put([record("a", 1)]);
    crash();
    writeFileSync(pathOf("000000002.journal"), "");
    const replaying = writerWith(
      () => ({ commit: () => Promise.reject(new SiltError("internal", "killed at the commit")) }),
      { journal },
    );
    await expect(replaying).rejects.toThrow(/killed/);
    await using _again = await notes.writer({ journal });
    expect(await idsOf()).toEqual(["a"]);
  });

  it("is refused while another writer has it open", async () => {
    await using _writer = await notes.writer({ journal });
    await expect(notes.writer({ journal })).rejects.toThrow(
      new RegExp(`process ${process.pid} writes to it`),
    );
  });

  it("is refused for another collection", async () => {
    const writer = await notes.writer({ journal });
    await writer.put([record("a")]);
    crash();
    const others = await temporary.store.collection("others", { dimension: 2 });
    await expect(others.writer({ journal })).rejects.toThrow(/belongs to notes/);
  });
});
