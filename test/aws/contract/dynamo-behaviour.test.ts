/** What only the real service shows: many writers, pages, long keys, denied and missing tables. */
import { GetItemCommand, PutItemCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { CreateAccessKeyCommand, CreateUserCommand, IAMClient } from "@aws-sdk/client-iam";
import { type AwsClients, createAwsClients, createDynamoLeaseStore } from "@silt/aws";
import {
  type Guard,
  type Pin,
  planRegistration,
  type RegisterOutcome,
  type RunLog,
  registerRuns,
  type ShardRef,
  sha256Of,
  shardNames,
  shardPartition,
  type VersionRef,
} from "@silt/core";
import { systemClock } from "@silt/local";
import { createSeededRandom } from "@silt/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  dropTable,
  ENDPOINT,
  newTable,
  REGION,
  ROOT,
  rootClients,
} from "../test-account.fixture.ts";
import {
  bigGuardOf,
  draftOf,
  guardOf,
  LINES,
  listedUris,
  logOf,
  NEW_HEAD,
  portsOf,
  putGuards,
  WORDS,
} from "./dynamo-log.fixture.ts";

const AT = "2026-01-01T00:00:00.000Z";
const WRITERS = 100;

let clients: AwsClients;
let table: string;
let log: RunLog;
beforeEach(async () => {
  clients = rootClients();
  table = await newTable(clients);
  log = logOf(clients, table);
  for (const shard of [LINES, WORDS]) await log.createShard(shard, NEW_HEAD);
});
afterEach(async () => {
  await dropTable(clients, table);
  clients[Symbol.dispose]();
});

/** All writers at once, one run each; tells how often they had to commit. */
async function writeAtOnce(shards: readonly ShardRef[]) {
  for (const shard of shards) await log.createShard(shard, NEW_HEAD);
  let commits = 0;
  let attemptsMost = 0;
  const registered = await Promise.all(
    Array.from({ length: WRITERS }, async (_, writer) => {
      let attempts = 0;
      const counted: RunLog = {
        ...log,
        commit(transaction) {
          attempts += 1;
          return log.commit(transaction);
        },
      };
      const draft = draftOf(shards[writer % shards.length] as ShardRef);
      const outcome = await registerRuns(portsOf(counted), [draft]);
      commits += attempts;
      attemptsMost = Math.max(attemptsMost, attempts);
      return { draft, outcome };
    }),
  );
  const told = `${commits / WRITERS} attempts a success, at most ${attemptsMost}`;
  return { registered, told };
}

async function expectEachOnce(
  shard: ShardRef,
  registered: readonly { draft: { runId: string; shard: ShardRef }; outcome: RegisterOutcome }[],
) {
  const mine = registered.filter(
    ({ draft }) => shardPartition(draft.shard) === shardPartition(shard),
  );
  const runs = await log.readRuns(shard, { after: 0, limit: 1_000 });
  expect(runs.map(({ sequence }) => sequence)).toEqual(mine.map((_, index) => index + 1));
  const sequences = new Map(runs.map(({ runId, sequence }) => [runId, sequence]));
  for (const { draft, outcome } of mine) {
    expect(outcome).toMatchObject({
      outcome: "registered",
      runs: [{ runId: draft.runId, sequence: sequences.get(draft.runId) }],
    });
  }
  const head = { sequence: mine.length, runsHash: runs.at(-1)?.runsHash };
  expect(await log.readHead(shard)).toMatchObject(head);
}

describe("writers", () => {
  it("100 writers of one shard all succeed, without a gap, each once", async ({ annotate }) => {
    const { registered, told } = await writeAtOnce([LINES]);
    await annotate(`1 shard: ${told}`);
    await expectEachOnce(LINES, registered);
  });

  it("100 writers of four shards all succeed, without a gap, each once", async ({ annotate }) => {
    const shards = shardNames(4).map((shard) => ({ ...LINES, shard }));
    const { registered, told } = await writeAtOnce(shards);
    await annotate(`4 shards: ${told}`);
    for (const shard of shards) await expectEachOnce(shard, registered);
  });

  it("20 pinners of one version at once: no pin is lost, and all of them can let go at once", async () => {
    const manifest = {
      key: "manifest.json",
      bytes: 1,
      sha256: sha256Of("m"),
      codec: "none",
    } as const;
    const version: VersionRef = { version: 3, commitId: "c".repeat(16), manifest };
    const owners = Array.from({ length: 20 }, (_, index) => `owner ${index}`);
    const pinOf = (owner: string): Pin => ({ owner, reason: "r", pinnedAt: AT, baseVersion: null });
    const heldBy = async () => {
      const [item] = await log.listVersions(LINES, { limit: 10 });
      return item?.pins.map(({ owner }) => owner).toSorted();
    };
    await Promise.all(owners.map((owner) => log.pinVersion(LINES, version, pinOf(owner))));
    expect(await heldBy()).toEqual(owners.toSorted());
    expect(await log.retireVersion(LINES, version)).toEqual({ outcome: "pinned" });
    await Promise.all(owners.map((owner) => log.unpinVersion(LINES, version, owner)));
    expect(await heldBy()).toEqual([]);
  });
});

describe("guards", () => {
  const long = (tail: string) => `file:///${"d/".repeat(1_000)}${tail}.png`;

  it("of URIs longer than a sort key are kept, and told apart by their ends", async () => {
    const uris = [long("a"), long("b"), `file:///${"\u{1f600}".repeat(400)}`];
    await putGuards(
      log,
      uris.map((uri) => guardOf(uri)),
    );
    for (const uri of uris) {
      expect(await log.readGuard({ uri, family: "images" })).toEqual(guardOf(uri));
    }
    expect(await log.readGuard({ uri: long("c"), family: "images" })).toBeUndefined();
    const again = { expectedRev: 0, next: guardOf(long("a")) };
    expect(await log.commit({ appends: [], guards: [again] })).toEqual({
      outcome: "guard-moved",
      guard: guardOf(long("a")),
    });
    for (const limit of [1, 2, 50]) {
      expect((await listedUris(log, "images", limit)).toSorted()).toEqual(uris.toSorted());
    }
  });

  it("300 of a family are listed in order, whatever the page, and no other family's", async () => {
    const uris = Array.from({ length: 300 }, (_, n) => `file:///${n % 7}/${sha256Of(`${n}`)}.png`);
    const shuffled = createSeededRandom(3).shuffle([...uris]);
    await putGuards(log, [
      ...shuffled.map((uri) => guardOf(uri)),
      ...uris.slice(0, 40).map((uri) => guardOf(uri, 1, "texts")),
    ]);
    for (const limit of [1_000, 300, 100, 7]) {
      expect(await listedUris(log, "images", limit)).toEqual(uris.toSorted());
    }
    expect(await listedUris(log, "texts", 100)).toEqual(uris.slice(0, 40).toSorted());
  });

  it("that fill many pages of 1 MB are all listed", async () => {
    const uris = Array.from({ length: 60 }, (_, n) => `file:///${String(n).padStart(2, "0")}`);
    const guards = uris.map((uri): Guard => bigGuardOf(uri, 380_000));
    await putGuards(log, guards, 10);
    expect(await log.listGuards("images", { limit: 100 })).toEqual(guards);
  });
});

describe("runs", () => {
  it("that fill many pages of 1 MB are read to the end, and to the limit", async () => {
    const drafts = Array.from({ length: 24 }, (_, n) =>
      draftOf(LINES, `file:///${n}${"x".repeat(250_000)}`),
    );
    for (const draft of drafts) await registerRuns(portsOf(log), [draft]);
    const read = async (after: number, limit: number) =>
      (await log.readRuns(LINES, { after, limit })).map(({ runId }) => runId);
    const ids = drafts.map(({ runId }) => runId);
    expect(await read(0, 100)).toEqual(ids);
    expect(await read(3, 15)).toEqual(ids.slice(3, 18));
    expect(await read(0, 1)).toEqual(ids.slice(0, 1));
  });

  it("a transaction over 100 items, or over 4 MB, is refused as a bug of its caller", async () => {
    const commit = (drafts: number, source: string, guards: number) => {
      const plan = planRegistration(
        Array.from({ length: drafts }, () => draftOf(LINES, source)),
        new Map([[shardPartition(LINES), NEW_HEAD]]),
        {},
        AT,
      ).transaction;
      const updates = Array.from({ length: guards }, (_, n) => guardOf(`file:///${n}`));
      return log.commit({ ...plan, guards: updates.map((next) => ({ expectedRev: 0, next })) });
    };
    const internal = { kind: "internal" };
    await expect(commit(49, "s", 2)).rejects.toMatchObject(internal);
    await expect(commit(15, "x".repeat(300_000), 0)).rejects.toMatchObject(internal);
    await expect(commit(1, "x".repeat(500_000), 0)).rejects.toMatchObject(internal);
    const shards = Array.from({ length: 101 }, (_, n) => ({ ...LINES, shard: `${n}-of-256` }));
    await expect(log.readHeads(shards)).rejects.toMatchObject(internal);
    expect(await commit(49, "s", 1)).toEqual({ outcome: "committed" });
    expect(await log.readHeads(shards.slice(0, 100))).toHaveLength(100);
  });
});

describe("items that are not what was written", () => {
  const itemAt = async (pk: string, sk: string) => {
    const Key = { pk: { S: pk }, sk: { S: sk } };
    const { Item } = await clients.dynamo.send(new GetItemCommand({ TableName: table, Key }));
    if (Item === undefined) throw new Error(`no item ${pk} ${sk}`);
    return Item;
  };
  const put = (Item: Awaited<ReturnType<typeof itemAt>>) =>
    clients.dynamo.send(new PutItemCommand({ TableName: table, Item }));
  const pk = shardPartition(LINES);

  it("an older HEAD that came back is found by the next registration (F52)", async () => {
    await registerRuns(portsOf(log), [draftOf(LINES)]);
    const old = await itemAt(pk, "HEAD");
    await registerRuns(portsOf(log), [draftOf(LINES)]);
    await put(old);
    await expect(registerRuns(portsOf(log), [draftOf(LINES)])).rejects.toMatchObject({
      kind: "corrupt",
      message: expect.stringContaining("HEAD is 1, but it has later runs"),
    });
  });

  it("a run, a version or a guard under another's key is corrupt", async () => {
    const corrupt = { kind: "corrupt" };
    for (const draft of [draftOf(LINES), draftOf(LINES)]) await registerRuns(portsOf(log), [draft]);
    const run = await itemAt(pk, "RUN#0000000000000001");
    await put({ ...run, sk: { S: "RUN#0000000000000002" } });
    await expect(log.readRuns(LINES, { after: 0, limit: 9 })).rejects.toMatchObject(corrupt);

    const key = { version: 3, commitId: "c".repeat(16) };
    await log.retireVersion(LINES, key);
    const version = await itemAt(pk, `VERSION#0000000000000003#${key.commitId}`);
    await put({ ...version, sk: { S: `VERSION#0000000000000004#${key.commitId}` } });
    await expect(log.listVersions(LINES, { limit: 9 })).rejects.toMatchObject(corrupt);

    await putGuards(log, [guardOf("file:///a")]);
    const partition = `SOURCE#images#${sha256Of("file:///a").charAt(0)}`;
    const guard = await itemAt(partition, "file:///a");
    await put({ ...guard, sk: { S: "file:///b" } });
    await expect(log.listGuards("images", { limit: 9 })).rejects.toMatchObject(corrupt);
  });

  it("a HEAD of a later format is left alone", async () => {
    await clients.dynamo.send(
      new UpdateItemCommand({
        TableName: table,
        Key: { pk: { S: pk }, sk: { S: "HEAD" } },
        UpdateExpression: "SET #r = :r",
        ExpressionAttributeNames: { "#r": "requires" },
        ExpressionAttributeValues: { ":r": { L: [{ S: "forks" }] } },
      }),
    );
    await expect(registerRuns(portsOf(log), [draftOf(LINES)])).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringContaining("forks"),
    });
    await expect(log.readRuns(LINES, { after: 0, limit: 9 })).rejects.toMatchObject({
      kind: "invalid",
    });
  });
});

describe("tables", () => {
  it("two stores and two collections in one table don't see each other", async () => {
    const twin = { ...LINES, storeId: "store0000009" };
    await log.createShard(twin, NEW_HEAD);
    const [mine, theirs] = [draftOf(LINES), draftOf(twin)];
    await registerRuns(portsOf(log), [mine]);
    await registerRuns(portsOf(log), [theirs]);
    await registerRuns(portsOf(log), [draftOf(WORDS)]);
    await log.raiseApplied(twin, { version: 7, appliedThrough: 1 });
    await log.retireVersion(twin, { version: 7, commitId: "c".repeat(16) });
    const runIds = async (shard: ShardRef) =>
      (await log.readRuns(shard, { after: 0, limit: 9 })).map(({ runId }) => runId);
    expect(await runIds(LINES)).toEqual([mine.runId]);
    expect(await runIds(twin)).toEqual([theirs.runId]);
    expect(await log.readRunIds([{ ...mine, shard: twin }])).toEqual([{ state: "absent" }]);
    expect(await log.readApplied(LINES)).toBeUndefined();
    expect(await log.listVersions(LINES, { limit: 9 })).toEqual([]);
    expect((await log.readHeads([LINES, twin, WORDS])).map((head) => head?.sequence)).toEqual([
      1, 1, 1,
    ]);
  });

  it("a table that is not there is invalid, and named", async () => {
    const nowhere = logOf(clients, "silt-test-nowhere");
    const missing = { kind: "invalid", message: expect.stringContaining("silt-test-nowhere") };
    await expect(nowhere.readHead(LINES)).rejects.toMatchObject(missing);
    await expect(nowhere.readHeads([LINES, WORDS])).rejects.toMatchObject(missing);
    await expect(nowhere.readRuns(LINES, { after: 0, limit: 9 })).rejects.toMatchObject(missing);
    await expect(nowhere.createShard(LINES, NEW_HEAD)).rejects.toMatchObject(missing);
    await expect(putGuards(nowhere, [guardOf("file:///a")])).rejects.toMatchObject(missing);
  });

  it("denied access is unavailable, never absent, and names the action", async () => {
    const iam = new IAMClient({ endpoint: ENDPOINT, region: REGION, credentials: ROOT });
    const UserName = `${table}-nobody`;
    await iam.send(new CreateUserCommand({ UserName }));
    const { AccessKey } = await iam.send(new CreateAccessKeyCommand({ UserName }));
    iam.destroy();
    const credentials = {
      accessKeyId: AccessKey?.AccessKeyId ?? "",
      secretAccessKey: AccessKey?.SecretAccessKey ?? "",
    };
    using nobody = createAwsClients({ endpoint: ENDPOINT, region: REGION, credentials });
    const denied = logOf(nobody, table);
    const leases = createDynamoLeaseStore({ client: nobody.dynamo, table }, systemClock);
    const wanted = { holder: "nobody", ttlMs: 1_000, skewMs: 0, aboveEpoch: 0 };
    const deniedTo = (action: string) => ({
      kind: "unavailable",
      message: expect.stringMatching(new RegExp(`access denied.*${action}`)),
    });
    await expect(denied.readHead(LINES)).rejects.toMatchObject(deniedTo("GetItem"));
    await expect(denied.readHeads([LINES, WORDS])).rejects.toMatchObject(deniedTo("GetItem"));
    await expect(denied.readRuns(LINES, { after: 0, limit: 9 })).rejects.toMatchObject(
      deniedTo("Query"),
    );
    await expect(denied.listGuards("images", { limit: 9 })).rejects.toMatchObject(
      deniedTo("Query"),
    );
    await expect(denied.announceExclusion(LINES, "c")).rejects.toMatchObject(
      deniedTo("UpdateItem"),
    );
    await expect(putGuards(denied, [guardOf("file:///a")])).rejects.toMatchObject(
      deniedTo("PutItem"),
    );
    await expect(leases.acquire(LINES, wanted)).rejects.toMatchObject(deniedTo("GetItem"));
    expect(await log.readHead(LINES)).toEqual(NEW_HEAD);
  });
});
