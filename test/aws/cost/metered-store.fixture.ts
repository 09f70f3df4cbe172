/** A store on the API server whose calls are counted by its own ports. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AwsUsage, meterRequests } from "@silt/aws";
import { openStore } from "../../../packages/silt/src/open-store.ts";
import type { Store } from "../../../packages/silt/src/store.ts";
import { newBucket, newQueue, newTable, rootClients } from "../test-account.fixture.ts";

export interface MeteredStore extends AsyncDisposable {
  readonly store: Store;
  /** What the work asked of AWS. */
  measure(work: () => Promise<unknown>): Promise<readonly AwsUsage[]>;
  /** The same store as another process has it, with a cache of its own. */
  reopen(): Promise<Store>;
}

export async function meteredStore(): Promise<MeteredStore> {
  const folder = mkdtempSync(join(tmpdir(), "silt-metered-"));
  using clients = rootClients();
  const names = [await newBucket(clients), await newTable(clients), await newQueue(clients)];
  const [bucket, table, queue] = names;
  let calls: AwsUsage[] = [];
  const resources = new AsyncDisposableStack();
  let opened = 0;
  const open = async () => {
    opened += 1;
    const store = await openStore(`s3://${bucket}/store?table=${table}&queue=${queue}`, {
      cacheFolder: join(folder, `cache-${opened}`),
      tempFolder: join(folder, "work"),
      instrument: (each) => meterRequests(each, (usage) => calls.push(usage)),
    });
    return resources.use(store);
  };
  const store = await open();
  return {
    store,
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

/** `{"s3.PutObject": 1, …}`, in alphabetical order. */
export function requestsOf(usage: readonly AwsUsage[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const { service, operation, requests } of usage) {
    const name = `${service}.${operation}`;
    counts.set(name, (counts.get(name) ?? 0) + requests);
  }
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}
