import { type Clock, type Guard, type RunLog, registerRuns, type SegmentEngine } from "@silt/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createMemoryPorts } from "./memory-ports.ts";
import {
  commitRuns,
  draftOf,
  guardOf,
  LINES,
  NEW_HEAD,
  NOWHERE,
  planOf,
  type RunLogFixture,
  WORDS,
} from "./run-log-fixture.ts";
import { refusalClaims } from "./run-log-refusals.ts";
import { createSeededRandom } from "./seeded-random.ts";
import { versionItemsClaims } from "./version-items-claims.ts";

export interface OpenedRunLog {
  readonly log: RunLog;
  /** What registrations wait by between attempts; default: no waiting. */
  readonly clock?: Clock;
  dispose(): Promise<void>;
}

const REGISTRATIONS = 50;

const noEngine: SegmentEngine = {
  openWorkbench: () => Promise.reject(new Error("this suite needs no engine")),
};

/** What every RunLog must do. `open` gives an empty log. */
export function runLogContract(name: string, open: () => Promise<OpenedRunLog>): void {
  describe(`RunLog: ${name}`, () => {
    let opened: OpenedRunLog;
    let fixture: RunLogFixture;
    beforeEach(async () => {
      opened = await open();
      const { log, clock } = opened;
      fixture = { log, clock, random: createSeededRandom(11) };
      await log.createShard(LINES, NEW_HEAD);
      await log.createShard(WORDS, NEW_HEAD);
    });
    afterEach(() => opened.dispose());

    shards(() => fixture);
    commits(() => fixture);
    refusalClaims(() => fixture);
    registrations(() => fixture);
    abandonment(() => fixture);
    notes(() => fixture);
    versionItemsClaims(() => fixture);
    guards(() => fixture);
  });
}

function shards(fixture: () => RunLogFixture): void {
  it("createShard() creates HEAD once and never resets it", async () => {
    const { log } = fixture();
    await commitRuns(fixture(), [draftOf(fixture())]);
    expect(await log.createShard(LINES, NEW_HEAD)).toBe("exists");
    expect((await log.readHead(LINES))?.sequence).toBe(1);
    expect(await log.createShard(NOWHERE, { ...NEW_HEAD, floor: "5", excludeRev: 3 })).toBe(
      "created",
    );
    expect(await log.readHead(NOWHERE)).toEqual({ ...NEW_HEAD, floor: "5", excludeRev: 3 });
  });

  it("readHead() and readHeads() answer undefined for a shard without HEAD", async () => {
    const { log } = fixture();
    expect(await log.readHead(NOWHERE)).toBeUndefined();
    expect(await log.readHeads([WORDS, NOWHERE, LINES])).toEqual([NEW_HEAD, undefined, NEW_HEAD]);
    expect(await log.readHeads([])).toEqual([]);
  });

  it("F52 another store's shard of the same name is another shard", async () => {
    const { log } = fixture();
    const twin = { ...LINES, storeId: "store0000009" };
    await commitRuns(fixture(), [draftOf(fixture())]);
    expect(await log.readHead(twin)).toBeUndefined();
    expect(await log.readRuns(twin, { after: 0, limit: 10 })).toEqual([]);
  });
}

function commits(fixture: () => RunLogFixture): void {
  it("commit() writes runs, HEADs, run ids and guards of several shards at once", async () => {
    const { log } = fixture();
    const drafts = [draftOf(fixture()), draftOf(fixture(), WORDS), draftOf(fixture())];
    const guard = guardOf("file:///a.png", 1);
    const plan = await planOf(fixture(), drafts, [{ expectedRev: 0, next: guard }]);
    expect(await log.commit(plan)).toEqual({ outcome: "committed" });
    const planned = plan.appends.map(({ next }) => next);
    expect(await log.readHeads([LINES, WORDS])).toEqual(planned);
    expect(planned.map(({ sequence }) => sequence)).toEqual([2, 1]);
    const lines = await log.readRuns(LINES, { after: 0, limit: 10 });
    expect(lines).toEqual(plan.appends[0]?.runs);
    expect(await log.readRuns(WORDS, { after: 0, limit: 10 })).toEqual(plan.appends[1]?.runs);
    expect(await log.readRunIds(drafts)).toEqual([
      { state: "registered", sequence: 1 },
      { state: "registered", sequence: 1 },
      { state: "registered", sequence: 2 },
    ]);
    expect(await log.readGuard(guard)).toEqual(guard);
  });

  it("readRuns() pages in order without gaps", async () => {
    const { log } = fixture();
    for (let run = 0; run < 12; run++) await commitRuns(fixture(), [draftOf(fixture())]);
    const sequences: number[] = [];
    for (;;) {
      const page = await log.readRuns(LINES, { after: sequences.at(-1) ?? 0, limit: 5 });
      expect(page.length).toBeLessThanOrEqual(5);
      if (page.length === 0) break;
      sequences.push(...page.map(({ sequence }) => sequence));
    }
    expect(sequences).toEqual(Array.from({ length: 12 }, (_, index) => index + 1));
    const tail = await log.readRuns(LINES, { after: 10, limit: 100 });
    expect(tail.map(({ sequence }) => sequence)).toEqual([11, 12]);
    expect(await log.readRuns(LINES, { after: 12, limit: 100 })).toEqual([]);
  });
}

function registrations(fixture: () => RunLogFixture): void {
  it("50 registrations at once all succeed and leave no gap", async () => {
    const { log, clock, random } = fixture();
    const drafts = Array.from({ length: REGISTRATIONS }, () => draftOf(fixture()));
    const registered = await Promise.all(
      drafts.map((draft) => {
        const memory = createMemoryPorts({
          engine: noEngine,
          random: random.fork(),
          ...(clock === undefined ? {} : { clock }),
        });
        return registerRuns({ ...memory, log }, [draft]);
      }),
    );
    const sequences = registered.map((outcome) =>
      outcome.outcome === "registered" ? outcome.runs[0]?.sequence : outcome.outcome,
    );
    const all = Array.from({ length: REGISTRATIONS }, (_, index) => index + 1);
    expect(sequences.toSorted((a, b) => Number(a) - Number(b))).toEqual(all);
    const runs = await log.readRuns(LINES, { after: 0, limit: 1_000 });
    expect(runs.map(({ sequence }) => sequence)).toEqual(all);
    const bySequence = new Map(runs.map(({ runId, sequence }) => [runId, sequence]));
    expect(drafts.map(({ runId }) => bySequence.get(runId))).toEqual(sequences);
    expect(await log.readHead(LINES)).toMatchObject({
      sequence: REGISTRATIONS,
      runsHash: runs.at(-1)?.runsHash,
    });
  });
}

function abandonment(fixture: () => RunLogFixture): void {
  it("F50 abandonRun() gives an unregistered run up, and may be repeated", async () => {
    const { log } = fixture();
    const draft = draftOf(fixture());
    expect(await log.readRunIds([draft])).toEqual([{ state: "absent" }]);
    expect(await log.abandonRun(LINES, draft.runId)).toBe("abandoned");
    expect(await log.abandonRun(LINES, draft.runId)).toBe("abandoned");
    expect(await log.readRunIds([draft])).toEqual([{ state: "abandoned" }]);
    expect(await log.readRunIds([{ ...draft, shard: WORDS }])).toEqual([{ state: "absent" }]);
  });

  it("F50 abandonRun() of a registered run changes nothing", async () => {
    const { log } = fixture();
    const draft = draftOf(fixture());
    await commitRuns(fixture(), [draft]);
    expect(await log.abandonRun(LINES, draft.runId)).toBe("registered");
    expect(await log.readRunIds([draft])).toEqual([{ state: "registered", sequence: 1 }]);
    expect(await log.readRuns(LINES, { after: 0, limit: 10 })).toHaveLength(1);
  });

  it("readRunIds() answers for hundreds, in the order asked", async () => {
    const { log } = fixture();
    const drafts = [draftOf(fixture()), draftOf(fixture())];
    await commitRuns(fixture(), drafts);
    const many = Array.from({ length: 250 }, () => draftOf(fixture()));
    const asked = [drafts[1], ...many, drafts[0]] as typeof drafts;
    const states = await log.readRunIds(asked);
    expect(states.map(({ state }) => state)).toEqual([
      "registered",
      ...many.map(() => "absent"),
      "registered",
    ]);
    expect([states[0], states.at(-1)]).toMatchObject([{ sequence: 2 }, { sequence: 1 }]);
  });

  it("F50 a registration and an abandonment at once: exactly one wins", async () => {
    const { log } = fixture();
    for (let round = 0; round < 10; round++) {
      const draft = draftOf(fixture());
      const plan = await planOf(fixture(), [draft]);
      const [committed, abandoned] = await Promise.all([
        log.commit(plan),
        log.abandonRun(LINES, draft.runId),
      ]);
      const registered = committed.outcome === "committed";
      expect(abandoned).toBe(registered ? "registered" : "abandoned");
      const [state] = await log.readRunIds([draft]);
      expect(state?.state).toBe(abandoned);
    }
  });
}

function notes(fixture: () => RunLogFixture): void {
  it("I4 raiseApplied() never lowers", async () => {
    const { log } = fixture();
    expect(await log.readApplied(LINES)).toBeUndefined();
    await log.raiseApplied(LINES, { version: 3, appliedThrough: 7 });
    await log.raiseApplied(LINES, { version: 2, appliedThrough: 9 });
    await log.raiseApplied(LINES, { version: 3, appliedThrough: 5 });
    expect(await log.readApplied(LINES)).toEqual({ version: 3, appliedThrough: 7 });
    await log.raiseApplied(LINES, { version: 4, appliedThrough: 7 });
    expect(await log.readApplied(LINES)).toEqual({ version: 4, appliedThrough: 7 });
    expect(await log.readApplied(WORDS)).toBeUndefined();
  });

  it("announceExclusion() marks HEAD, and resolveExclusion() raises excludeRev", async () => {
    const { log } = fixture();
    await log.announceExclusion(LINES, "a");
    expect(await log.readHead(LINES)).toEqual({ ...NEW_HEAD, excluding: "a" });
    await log.resolveExclusion(LINES, "a");
    expect(await log.readHead(LINES)).toEqual({ ...NEW_HEAD, excludeRev: 1 });
    expect(await log.readHead(WORDS)).toEqual(NEW_HEAD);
  });

  it("resolveExclusion() leaves the announcement of a newer commit alone", async () => {
    const { log } = fixture();
    await log.announceExclusion(LINES, "a");
    await log.announceExclusion(LINES, "b");
    await log.resolveExclusion(LINES, "a");
    expect(await log.readHead(LINES)).toEqual({ ...NEW_HEAD, excluding: "b", excludeRev: 1 });
    await log.resolveExclusion(LINES, "b");
    expect(await log.readHead(LINES)).toEqual({ ...NEW_HEAD, excludeRev: 2 });
  });

  it("an exclusion of a shard without HEAD is corrupt, and makes none", async () => {
    const { log } = fixture();
    const corrupt = { kind: "corrupt" };
    await expect(log.announceExclusion(NOWHERE, "a")).rejects.toMatchObject(corrupt);
    await expect(log.resolveExclusion(NOWHERE, "a")).rejects.toMatchObject(corrupt);
    expect(await log.readHead(NOWHERE)).toBeUndefined();
  });
}

function guards(fixture: () => RunLogFixture): void {
  const put = (guard: Guard) =>
    fixture().log.commit({ appends: [], guards: [{ expectedRev: guard.rev - 1, next: guard }] });

  it("a guard is created at revision 1 and replaced at the next", async () => {
    const { log } = fixture();
    const key = { uri: "file:///a b/ü#1.png", family: "images" };
    expect(await log.readGuard(key)).toBeUndefined();
    const first = guardOf(key.uri, 1);
    expect(await put(first)).toEqual({ outcome: "committed" });
    expect(await log.readGuard(key)).toEqual(first);
    const second = { ...guardOf(key.uri, 2), sourceDigest: null };
    expect(await put(second)).toEqual({ outcome: "committed" });
    expect(await log.readGuard(key)).toEqual(second);
    expect(await log.readGuard({ ...key, family: "texts" })).toBeUndefined();
  });

  it("exactly one of 20 updates of a guard from the same revision is committed", async () => {
    const uri = "file:///contended.png";
    await put(guardOf(uri, 1));
    const updates = await Promise.all(
      Array.from({ length: 20 }, (_, writer) =>
        put({ ...guardOf(uri, 2), pipelineId: `writer-${writer}` }),
      ),
    );
    const winners = updates.flatMap(({ outcome }, writer) =>
      outcome === "committed" ? [`writer-${writer}`] : [],
    );
    expect(winners).toHaveLength(1);
    const [winner] = winners;
    expect(await fixture().log.readGuard({ uri, family: "images" })).toMatchObject({
      rev: 2,
      pipelineId: winner,
    });
  });

  it("listGuards() pages through one family by URI, in the order of UTF-8", async () => {
    const { log } = fixture();
    const uris = ["a", "a#1", "a/b", "b", "z", "\u{fffd}", "\u{1f600}"].map((n) => `file:///${n}`);
    for (const uri of createSeededRandom(5).shuffle(uris)) await put(guardOf(uri, 1));
    await put(guardOf("file:///a", 1, "texts"));
    const listed: string[] = [];
    for (;;) {
      const after = listed.at(-1);
      const page = await log.listGuards("images", {
        limit: 2,
        ...(after === undefined ? {} : { after }),
      });
      expect(page.length).toBeLessThanOrEqual(2);
      if (page.length === 0) break;
      listed.push(...page.map(({ uri }) => uri));
    }
    expect(listed).toEqual(uris);
    const [guard] = await log.listGuards("texts", { limit: 10 });
    expect(guard).toEqual(guardOf("file:///a", 1, "texts"));
    expect(await log.listGuards("none", { limit: 10 })).toEqual([]);
  });
}
