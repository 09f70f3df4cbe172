/** Steps 1 and 2 of a write: a closed, checked bundle, stored under a key that contains its run id, read back. */
import { createHash } from "node:crypto";
import type { ObjectRef } from "./formats.ts";
import { uuidV7 } from "./ids.ts";
import { deltaKey } from "./object-keys.ts";
import {
  type ObjectSource,
  type ObjectStore,
  type Ports,
  putOptionsOf,
  type SegmentOwner,
  type Workbench,
} from "./ports.ts";
import type { RunDraft } from "./register-runs.ts";
import type { SegmentContent } from "./row.ts";
import { SiltError } from "./silt-error.ts";

/** Builds and stores the delta of one shard. Nothing is acknowledged yet: see `registerRuns`. */
export async function publishDelta(
  ports: Ports,
  workbench: Workbench,
  owner: SegmentOwner,
  content: SegmentContent,
  options: { readonly source?: string | null; readonly retryOf?: number | null } = {},
): Promise<RunDraft> {
  const runId = uuidV7(ports.clock.nowMs(), ports.random.bytes(16));
  const source = options.source ?? null;
  const built = await workbench.buildDelta(owner, { runId, source, content });
  const { collection, storeId, shard } = owner;
  const ref: ObjectRef = {
    key: deltaKey(owner, runId),
    bytes: built.bytes,
    sha256: built.sha256,
    codec: "tar",
  };
  await storeImmutable(ports.objects, ref, built.source);
  return {
    shard: { collection, storeId, shard },
    runId,
    delta: ref,
    rows: built.rows,
    replaced: built.replaced,
    source,
    retryOf: options.retryOf ?? null,
  };
}

/**
 * Stores an object that is never overwritten, and reads it back. An object that is already there
 * with the same hash is our own earlier attempt. Throws `corrupt` when what lies there differs,
 * `unavailable` when nothing does.
 */
export async function storeImmutable(
  objects: ObjectStore,
  ref: ObjectRef,
  source: ObjectSource,
): Promise<void> {
  await objects.put(ref.key, source, putOptionsOf(ref, { ifAbsent: true }));
  const found = await hashObject(objects, ref.key);
  if (found === undefined) {
    // The collector takes what seems given up: whoever slept so long between put and read begins anew.
    throw new SiltError(
      "unavailable",
      `Cannot store "${ref.key}": it was there and is gone; try again`,
    );
  }
  if (found.bytes !== ref.bytes || found.sha256 !== ref.sha256) {
    throw new SiltError(
      "corrupt",
      `Cannot store "${ref.key}": it reads back with another hash, expected ${ref.sha256}`,
    );
  }
}

/** Length and SHA-256 of an object as the store gives it now; undefined when it is absent. */
export async function hashObject(
  objects: ObjectStore,
  key: string,
): Promise<{ readonly bytes: number; readonly sha256: string } | undefined> {
  const found = await objects.read(key);
  if (found.outcome === "absent") return undefined;
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of found.body) {
    hash.update(chunk);
    bytes += chunk.byteLength;
  }
  return { bytes, sha256: hash.digest("hex") };
}
