/**
 * Verification: the report that an operator trusts. It reads everything that can be read, goes on after
 * each damage, and changes nothing:
 *  1. each collection's `collection.json` and `policy.json`, and folders that have lost theirs
 *  2. each shard by `verifyShard()`: pointer, versions, segments, log, bundles, exclusions, leftovers
 *  3. the guards of sources, and every row of the log against its digest
 * Memory is bounded but for the keys that a shard's versions name, some hundred bytes a version.
 */

import { collectionFolders } from "./collection-folders.ts";
import type { Ports, ShardRef } from "./ports.ts";
import { checkExists, verifyCollection } from "./verify-collection.ts";
import { createProgress, type VerifyContext } from "./verify-context.ts";
import { verifyLog } from "./verify-log.ts";
import { verifyOldVersion } from "./verify-old-version.ts";
import { createFindings, unlessLogDamaged, type VerifyReport } from "./verify-report.ts";

const GUARD_FAMILY = "images";
const GUARDS_PAGE = 500;

export interface VerifyStoreOptions {
  /** Default: all, and what lies beside them. */
  readonly collections?: readonly string[];
  /** Also read every row with a second build of SQLite, and compare. */
  readonly deep?: boolean;
  /** Versions that are not the current one, to be checked to their last row too. */
  readonly versions?: readonly (readonly [ShardRef, number])[];
  readonly signal?: AbortSignal;
  /** Things checked, and of how many that are known so far. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Checks a store, or some collections of it. Damage is reported, never thrown; throws `unavailable` when
 * the environment fails, and `invalid` for a collection of which nothing is there.
 */
export async function verifyStore(
  ports: Ports,
  options: VerifyStoreOptions = {},
): Promise<VerifyReport> {
  const { collections, deep = false, versions = [], signal, onProgress } = options;
  const findings = createFindings();
  const progress = createProgress(onProgress);
  const context: VerifyContext = { ports, deep, signal, findings, progress };
  if (collections === undefined) await verifyAll(context);
  else {
    for (const name of collections) await checkExists(context, name);
    for (const name of collections) await verifyCollection(context, name);
  }
  for (const [shard, version] of versions) await verifyOldVersion(context, shard, version);
  await verifyLog(context);
  if (collections === undefined) await verifyGuards(context);
  return findings.report();
}

async function verifyAll(context: VerifyContext): Promise<void> {
  const { ports, findings, signal } = context;
  for await (const folder of collectionFolders(ports.objects)) {
    signal?.throwIfAborted();
    if ("name" in folder) await verifyCollection(context, folder.name);
    else findings.notice(folder.stray, "leftover", "It belongs to no collection; nobody reads it");
  }
}

/** Reading parses; a damaged guard ends the list, unless the log's own audit has named it and gone on. */
async function verifyGuards({ ports, findings, signal }: VerifyContext): Promise<void> {
  if (findings.report().problems.some(({ kind }) => kind === "guard-damaged")) return;
  for (let after: string | undefined; ; ) {
    signal?.throwIfAborted();
    const asked = { limit: GUARDS_PAGE, ...(after === undefined ? {} : { after }) };
    const page = await unlessLogDamaged(
      () => ports.log.listGuards(GUARD_FAMILY, asked),
      ({ message }) => findings.problem(`log: guards of ${GUARD_FAMILY}`, "guard-damaged", message),
    );
    if (page === undefined || page.length < GUARDS_PAGE) return;
    after = page.at(-1)?.uri;
  }
}
