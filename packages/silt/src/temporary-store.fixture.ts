/** What the tests of this package share: an open store in a temporary folder with its own cache. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type OpenStoreOptions, openStore } from "./open-store.ts";
import type { Store } from "./store.ts";
import { testPlace } from "./test-place.fixture.ts";

export interface TemporaryStore extends AsyncDisposable {
  readonly folder: string;
  readonly location: string;
  readonly store: Store;
  /** A second handle on the same store, as another process has it. */
  reopen(options?: OpenStoreOptions): Promise<Store>;
}

/** Makes a store that goes when it is disposed. */
export async function temporaryStore(): Promise<TemporaryStore> {
  const folder = mkdtempSync(join(tmpdir(), "silt-store-"));
  const place = testPlace(folder);
  await place.prepare();
  const { location } = place;
  const reopen = (options: OpenStoreOptions = {}) =>
    openStore(location, {
      cacheFolder: join(folder, "cache"),
      tempFolder: join(folder, "work"),
      ...options,
    });
  const opened: Store[] = [];
  const open = async (options?: OpenStoreOptions) => {
    const store = await reopen(options);
    opened.push(store);
    return store;
  };
  return {
    folder,
    location,
    store: await open(),
    reopen: open,
    async [Symbol.asyncDispose]() {
      for (const store of opened) await store[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
