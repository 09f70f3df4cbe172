/** A store on the API server whose calls are counted by its own ports, and what they may come to. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AwsClients, type AwsUsage, meterRequests } from "@silt/aws";
import { expect } from "vitest";
import { openStore } from "../../../packages/silt/src/open-store.ts";
import type { Store } from "../../../packages/silt/src/store.ts";
import { newBucket, newQueue, newTable, rootClients } from "../test-account.fixture.ts";

export interface MeteredStore extends AsyncDisposable {
  readonly store: Store;
  /** Counted too: what a function makes for itself beside its store. */
  readonly clients: AwsClients;
  /** Of hints, by name. */
  readonly queue: string;
  /** What the work asked of AWS. */
  measure(work: () => Promise<unknown>): Promise<readonly AwsUsage[]>;
  /** The same store as another process has it, with a cache of its own. */
  reopen(): Promise<Store>;
}

/** Requests by the name of the operation, e.g. `s3.GetObject`. */
export type Budget = Readonly<Record<string, number>>;

export async function meteredStore(): Promise<MeteredStore> {
  const folder = mkdtempSync(join(tmpdir(), "silt-metered-"));
  let calls: AwsUsage[] = [];
  const instrument = (each: AwsClients) => meterRequests(each, (usage) => calls.push(usage));
  const resources = new AsyncDisposableStack();
  const clients = resources.use(rootClients());
  instrument(clients);
  const bucket = await newBucket(clients);
  const table = await newTable(clients);
  const queue = await newQueue(clients);
  let opened = 0;
  const open = async () => {
    opened += 1;
    const store = await openStore(`s3://${bucket}/store?table=${table}&queue=${queue}`, {
      cacheFolder: join(folder, `cache-${opened}`),
      tempFolder: join(folder, "work"),
      instrument,
    });
    return resources.use(store);
  };
  const store = await open();
  return {
    store,
    clients,
    queue,
    reopen: open,
    async measure(work) {
      calls = [];
      await work();
      return calls;
    },
    async [Symbol.asyncDispose]() {
      await resources.disposeAsync();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** No heartbeat on a busy machine: each is a request, by time and not by work. */
export async function withoutHeartbeat(store: Store, collection: string): Promise<void> {
  await store.setPolicy(collection, (policy) => ({
    ...policy,
    lease: { ...policy.lease, ttlMs: 3_600_000, heartbeatMs: 1_200_000 },
  }));
}

/** Fails for each operation that was asked for more often than its budget, which is none where none is named. */
export function within(usage: readonly AwsUsage[], budget: Budget): void {
  const asked = requestsOf(usage);
  const over = Object.entries(asked).filter(([name, requests]) => requests > (budget[name] ?? 0));
  expect(over, JSON.stringify(asked)).toEqual([]);
}

export const sumOf = (usage: readonly AwsUsage[], unit: "readUnits" | "writeUnits"): number =>
  usage.reduce((total, call) => total + call[unit], 0);

/** `{"s3.PutObject": 1, …}`, in alphabetical order. */
function requestsOf(usage: readonly AwsUsage[]): Budget {
  const counts = new Map<string, number>();
  for (const { service, operation, requests } of usage) {
    const name = `${service}.${operation}`;
    counts.set(name, (counts.get(name) ?? 0) + requests);
  }
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}
