/**
 * The deployed stack while things go wrong, IAM enforced: processes are killed and stopped, messages lost
 * and given up, grants taken away, bundles and stream records damaged. What repairs it is the stack itself.
 */
import { randomUUID } from "node:crypto";
import { PutItemCommand } from "@aws-sdk/client-dynamodb";
import { SendMessageCommand } from "@aws-sdk/client-sqs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseLocation } from "../../../packages/silt/src/location.ts";
import { type DeployedStack, deployTestStack, waitUntil } from "./deployed-stack.fixture.ts";
import {
  hideFor,
  processesOf,
  purge,
  redrive,
  withConfiguration,
  withDenied,
  withEventSourceOff,
  withoutGrant,
  withRecordAge,
} from "./stack-faults.fixture.ts";
import { openNotes } from "./stack-notes.fixture.ts";
import { tinyPicture } from "./test-pictures.fixture.ts";

/** Of uploads, so that no two runs mean the same picture. */
const OWN = randomUUID().slice(0, 8);
/** Longer than a lease of a compactor that was killed, shorter than anybody wants to wait. */
const HIDDEN_SECONDS = 10;
const OLD_MS = 120_000;
/** AWS takes no less than a minute, the server any. */
const RECORD_AGE_SECONDS = 5;
const DONE = { batchItemFailures: [] };

let stack: DeployedStack;
beforeAll(async () => {
  stack = await deployTestStack("SiltFaults");
  await stack.invoke("sweep"); // makes the store
});
afterAll(() => stack?.[Symbol.asyncDispose]());

/** Sends a signal to what runs the compactor, and answers whom it hit. */
function signalCompactor(signal: NodeJS.Signals): readonly number[] {
  const pids = processesOf(stack, "compact");
  for (const pid of pids) process.kill(pid, signal);
  return pids;
}

const messagesOf = async (name: Parameters<DeployedStack["logsOf"]>[0], sinceMs: number) =>
  (await stack.logsOf(name, sinceMs)).map(({ message }) => String(message));

describe("the compactor", () => {
  it("F13 killed in the middle is replaced when its hint comes again; nothing is lost or doubled", async () => {
    const notes = await openNotes(stack, "killed");
    await hideFor(stack, "Compaction", HIDDEN_SECONDS);
    await withEventSourceOff(stack, "compact", async () => {
      for (let run = 0; run < 10; run++) await notes.put(1_000);
      await waitUntil("a hint waits", async () => (await stack.depth("Compaction")) > 0);
    });
    const dead = await notes.untilLeased();
    expect(signalCompactor("SIGKILL").length).toBeGreaterThan(0);
    expect(await notes.status()).toMatchObject({ version: 0, pending: 10 });
    expect((await notes.ports.leases.read(notes.shard))?.holder).toBe(dead);

    await notes.untilApplied();
    await notes.expectAll();
    expect((await notes.status()).excluded).toBe(0);
  });

  it("F13 stopped by a hard time limit is replaced, too", async () => {
    const notes = await openNotes(stack, "stopped");
    await withConfiguration(stack, "compact", { timeoutSeconds: 8 }, () =>
      withEventSourceOff(stack, "compact", async () => {
        for (let run = 0; run < 5; run++) await notes.put(1_000);
        const stopped = expect(stack.invoke("compact", notes.hints("a"))).rejects.toThrow(
          /timed out/,
        );
        await notes.untilLeased();
        signalCompactor("SIGSTOP");
        await stopped;
        expect(await notes.status()).toMatchObject({ version: 0, pending: 5 });
      }),
    );
    await notes.put(1);
    await waitUntil("the lease has run out", async () => {
      const lease = await notes.ports.leases.read(notes.shard);
      return lease === undefined || lease.expiresAtMs < Date.now();
    });
    await stack.invoke("compact", notes.hints("b"));
    await notes.untilApplied();
    await notes.expectAll();
  });

  it("F13 that is short of time stops by itself with nothing half done, and goes on", async () => {
    const since = Date.now();
    const notes = await openNotes(stack, "hurried");
    await withEventSourceOff(stack, "compact", async () => {
      for (let run = 0; run < 40; run++) await notes.put(3);
    });
    // Half of it is margin. One run is estimated with most of the rest, so that no machine gets far.
    await withConfiguration(stack, "compact", { timeoutSeconds: 6 }, () => notes.untilApplied());
    await notes.expectAll();
    expect((await notes.status()).version).toBeGreaterThan(1);
    await stack.untilLogged("compact", since, ({ message }) => message === "shard out-of-time");
    expect((await messagesOf("compact", since)).join("\n")).not.toMatch(/timed out/);
  });

  it("I8 says before the work that it does not fit, and the command does it from this machine", async () => {
    const since = Date.now();
    const notes = await openNotes(stack, "too-large");
    await withEventSourceOff(stack, "compact", async () => {
      await withConfiguration(stack, "compact", { timeoutSeconds: 2 }, async () => {
        await notes.put(3);
        expect(await stack.invoke("compact", notes.hints("a"))).toEqual(DONE);
      });
      const collection = notes.collection.name;
      const line = await stack.untilLogged(
        "compact",
        since,
        ({ message }) => message === "compaction does not fit",
      );
      expect(line).toMatchObject({ collection, resource: "time", available: expect.any(Number) });
      expect(line.advice).toContain(`"silt compact ${collection}"`);
      await stack.untilLogged("compact", since, ({ CompactionTooLarge: count }) => count === 1);
      const { exitCode, stderr } = await stack.silt("compact", collection);
      expect(exitCode, stderr).toBe(0);
    });
    expect((await notes.status()).pending).toBe(0);
    await notes.expectAll();
  });

  it("F16 twice at once on one shard flips once", async () => {
    const since = Date.now();
    const notes = await openNotes(stack, "twice");
    await withEventSourceOff(stack, "compact", async () => {
      for (let run = 0; run < 10; run++) await notes.put(500);
      const hints = notes.hints("a", "b");
      const answers = await Promise.all([1, 2].map(() => stack.invoke("compact", hints)));
      expect(answers).toEqual([DONE, DONE]);
    });
    await notes.untilApplied();
    await notes.expectAll();
    expect((await notes.status()).version).toBe(1);
    const isFlip: Parameters<DeployedStack["untilLogged"]>[2] = ({ collection, message }) =>
      collection === notes.collection.name && message === "shard flipped";
    await stack.untilLogged("compact", since, isFlip);
    expect((await stack.logsOf("compact", since)).filter(isFlip)).toHaveLength(1);
  });

  it("F18 leaves out a poison bundle alone, and everybody is told", async () => {
    const notes = await openNotes(stack, "poisoned");
    await notes.put(5);
    const poison = await notes.putPoison();
    await notes.put(5);
    await notes.untilApplied();
    await notes.expectAll();
    expect((await notes.status()).excluded).toBe(1);
    const { json } = await stack.silt("quarantine", "list");
    expect(JSON.stringify(json)).toContain(poison.runId);
    const since = Date.now();
    await stack.invoke("sweep");
    await stack.untilLogged("sweep", since, ({ ExcludedRuns }) =>
      [ExcludedRuns].flat().includes(1),
    );
  });

  it("F57 without its grant on bundles fails with what to grant, excludes nothing, and goes on", async () => {
    const notes = await openNotes(stack, "denied");
    const since = Date.now();
    await withEventSourceOff(stack, "compact", async () => {
      await notes.put(5);
      await notes.put(5);
      const { bucket } = storeOf(stack);
      const resource = `arn:aws:s3:::${bucket}/*/deltas/*`;
      await withDenied(stack, "compact", { action: "s3:GetObject", resource }, async () => {
        const answer = await stack.invoke("compact", notes.hints("a"));
        expect(answer).toEqual({ batchItemFailures: [{ itemIdentifier: "a" }] });
      });
      expect(await notes.status()).toMatchObject({ pending: 2, excluded: 0, version: 0 });
      const grant = { actions: ["s3:GetObject"], on: bucket };
      await withoutGrant(stack, "compact", grant, async () => {
        const answer = await stack.invoke("compact", notes.hints("b"));
        expect(answer).toEqual({ batchItemFailures: [{ itemIdentifier: "b" }] });
      });
    });
    await stack.untilLogged("compact", since, ({ message }) => /s3:GetObject/.test(`${message}`));
    await notes.untilApplied();
    await notes.expectAll();
    expect((await notes.status()).excluded).toBe(0);
  });
});

const storeOf = ({ outputs }: DeployedStack) => {
  const location = parseLocation(outputs.StoreLocation);
  if (location.kind !== "aws") throw new Error("The store is on AWS");
  return location;
};

describe("a hint", () => {
  it("F59 that is lost is sent again by the sweep", async () => {
    const notes = await openNotes(stack, "forgotten", 2);
    const since = Date.now();
    await withEventSourceOff(stack, "compact", async () => {
      await notes.putOld(20, OLD_MS);
      await waitUntil("a hint waits", async () => (await stack.depth("Compaction")) > 0);
      await purge(stack, "Compaction");
      expect(await stack.invoke("sweep")).toMatchObject({ hinted: 2 });
      await stack.untilLogged("sweep", since, ({ OldestPendingSeconds }) =>
        [OldestPendingSeconds].flat().some((seconds) => Number(seconds) >= OLD_MS / 1_000),
      );
    });
    await notes.untilApplied();
    await notes.expectAll();
  });
});

describe("an upload", () => {
  it("F23 that nobody may read is given up to the dead letters, and is applied after a redrive", async () => {
    await hideFor(stack, "Uploads", 1);
    const since = Date.now();
    const uploads = stack.outputs.UploadsBucket;
    let sources: readonly string[] = [];
    await withoutGrant(stack, "ingest", { actions: ["s3:GetObject"], on: uploads }, async () => {
      const pictures = await Promise.all([1, 2].map(tinyPicture));
      sources = await Promise.all(
        pictures.map((bytes, at) => stack.upload(`${OWN}/denied-${at}.png`, bytes)),
      );
      await waitUntil(
        "both are dead letters",
        async () => (await stack.depth("UploadsDead")) === 2,
      );
    });
    const store = await stack.store();
    for (const source of sources) expect((await store.sourceStatus(source)).state).toBe("unknown");
    const { reason } = await stack.untilLogged(
      "ingest",
      since,
      ({ message }) => message === "picture denied",
    );
    expect(reason).toMatch(/s3:GetObject/);
    expect(await redrive(stack, "Uploads")).toHaveLength(2);
    await stack.untilAll(sources, "applied");
    expect(await stack.deadLetters()).toEqual({});
  });

  it("F18 is not acknowledged while the log may not be written, and is not lost", async () => {
    await hideFor(stack, "Uploads", 3);
    const since = Date.now();
    const { table } = storeOf(stack);
    let source = "";
    await withoutGrant(stack, "ingest", { actions: ["dynamodb:PutItem"], on: table }, async () => {
      source = await stack.upload(`${OWN}/unregistered.png`, await tinyPicture(3));
      await stack.untilLogged("ingest", since, ({ message }) =>
        /dynamodb:PutItem/.test(`${message}`),
      );
      expect((await (await stack.store()).sourceStatus(source)).state).toBe("unknown");
      expect(await stack.depth("Uploads")).toBe(1);
    });
    await stack.untilSource(source, "applied");
    await stack.untilDrained("Uploads");
    expect(await stack.deadLetters()).toEqual({});
  });
});

describe("a message", () => {
  it("F20 that is nobody's ends in the dead letters, and holds up no other", async () => {
    await hideFor(stack, "Uploads", 1);
    await hideFor(stack, "Compaction", 1);
    for (const queue of ["Uploads", "Compaction"] as const) {
      await stack.clients.sqs.send(
        new SendMessageCommand({ QueueUrl: stack.queueUrl(queue), MessageBody: '{"no":"hint"}' }),
      );
    }
    const source = await stack.upload(`${OWN}/beside-junk.png`, await tinyPicture(4));
    await stack.untilSource(source, "applied");
    for (const queue of ["UploadsDead", "CompactionDead"] as const) {
      await waitUntil(`${queue} has it`, async () => (await stack.depth(queue)) === 1);
      await purge(stack, queue);
    }
    await hideFor(stack, "Compaction", HIDDEN_SECONDS);
  });
});

describe("a stream record", () => {
  it("F20 that names no shard is reported, and holds up no other", async () => {
    const notes = await openNotes(stack, "beside-poison");
    const since = Date.now();
    const Item = { pk: { S: `garbage-${randomUUID()}` }, sk: { S: "RUN#0000000000000001" } };
    const { table } = storeOf(stack);
    await stack.clients.dynamo.send(new PutItemCommand({ TableName: table, Item }));
    await notes.put(5);
    await notes.untilApplied();
    await notes.expectAll();
    const poison = await stack.untilLogged(
      "dispatch",
      since,
      ({ message }) => message === "stream record names no shard",
    );
    // The server takes a partly failed batch for a good one; AWS cuts the record out and tries it again.
    const SequenceNumber = String(poison.sequenceNumber);
    const record = { eventName: "INSERT", dynamodb: { SequenceNumber, Keys: Item } };
    expect(await stack.invoke("dispatch", { Records: [record] })).toEqual({
      batchItemFailures: [{ itemIdentifier: SequenceNumber }],
    });
  });

  it("F20 that cannot be passed on is given up by its age, those after it are not, the sweep repairs it", async () => {
    const notes = await openNotes(stack, "stuck-stream");
    const sending = {
      actions: ["sqs:SendMessage", "sqs:SendMessageBatch"],
      on: storeOf(stack).queue ?? "",
    };
    await withRecordAge(stack, "dispatch", RECORD_AGE_SECONDS, () =>
      withoutGrant(stack, "dispatch", sending, async () => {
        await notes.putOld(5, OLD_MS);
        await waitUntil(
          "the record is a dead letter",
          async () => (await stack.depth("DispatchDead")) > 0,
        );
      }),
    );
    const after = await openNotes(stack, "after-stuck");
    await after.put(5);
    await after.untilApplied();
    await after.expectAll();
    await stack.invoke("sweep");
    await notes.untilApplied();
    await notes.expectAll();
    expect(await stack.deadLetters()).toEqual({ DispatchDead: expect.any(Number) });
    await purge(stack, "DispatchDead");
  });
});

describe("a redeploy", () => {
  it("in the middle of uploads loses nothing", async () => {
    await hideFor(stack, "Uploads", 5);
    const pictures = await Promise.all(Array.from({ length: 24 }, (_, at) => tinyPicture(50 + at)));
    const uploadAll = async (from: number, to: number) =>
      Promise.all(
        pictures
          .slice(from, to)
          .map((bytes, at) => stack.upload(`${OWN}/redeploy-${from + at}.png`, bytes)),
      );
    const first = await uploadAll(0, 12);
    const redeployed = stack.redeploy({ memoryMb: '{"ingest":2049,"compact":2049}' });
    const second = await uploadAll(12, 24);
    await redeployed;
    await stack.untilAll([...first, ...second], "applied");
    expect(await stack.deadLetters()).toEqual({});
  }, 300_000);
});

describe("at the end", () => {
  it("the store verifies, but for what was poisoned, and no message is left", async () => {
    await stack.untilDrained("Uploads", "Compaction");
    const { json } = await stack.silt("verify");
    const problems: { kind: string; object: string }[] = json?.problems;
    expect(problems.map(({ kind }) => kind)).toEqual(["excluded-run"]);
    expect(problems[0]?.object).toContain("poisoned-");
    expect(await stack.deadLetters()).toEqual({});
  });
});
