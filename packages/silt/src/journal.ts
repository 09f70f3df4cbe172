/**
 * The journal of one writer: append-only files, each line with its hash, synced before a write is
 * taken. A flush seals the current file; the files go when its runs are registered. After a crash
 * the run ids noted in a file tell whether a flush had been registered: nothing is applied twice.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import {
  type CollectionIdentity,
  FORMAT,
  type Ports,
  type Row,
  type RunDraft,
  reasonOf,
  SiltError,
  shardOf,
  shardOfKey,
  shardRefs,
} from "@silt/core";
import {
  type DraftNote,
  type EncodedRow,
  type JournalHeader,
  lineHash,
  readJournalFile,
} from "./journal-entries.ts";
import { lockJournal } from "./lock-journal.ts";

/** One operation as a writer took it. */
export type JournalOperation = { readonly row: Row } | { readonly replace: string };

export interface WriteJournal {
  /** Operations of a crashed writer that are not registered, in order. */
  readonly left: readonly JournalOperation[];
  /** Appends and syncs. */
  append(operations: readonly JournalOperation[]): void;
  /** Begins a new file: what was appended so far belongs to the flush that follows. */
  seal(): void;
  /** Notes the run ids of that flush, before they are registered. */
  noteDrafts(drafts: readonly RunDraft[]): void;
  /** Removes the sealed files: their operations are registered. */
  removeSealed(): void;
  close(): void;
}

const NAME = /^(\d{9})\.journal$/;
/** The next name would have a digit more, and never be found again. */
const NUMBER_MAX = 999_999_999;
const nameOf = (number: number) => `${String(number).padStart(9, "0")}.journal`;

type EncodedEntry =
  | JournalHeader
  | DraftNote
  | { readonly row: EncodedRow }
  | { readonly replace: string };

/** Opens, or makes, the journal in `folder`. Throws `unavailable` when another writer has it open. */
export async function openJournal(
  ports: Ports,
  identity: CollectionIdentity,
  folder: string,
): Promise<WriteJournal> {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw journalError("open", folder, error);
  }
  const unlock = lockJournal(folder);
  try {
    const names = readdirSync(folder).filter((name) => NAME.test(name));
    const sealed = names.sort().map((name) => join(folder, name));
    const left: JournalOperation[] = [];
    for (const path of sealed) left.push(...(await unregistered(ports, identity, path)));
    const last = Number(NAME.exec(names.at(-1) ?? "")?.[1] ?? 0);
    if (last === NUMBER_MAX) {
      throw new SiltError(
        "corrupt",
        `Cannot open journal "${folder}": its files are numbered up to ${last}; use another folder`,
      );
    }
    return journalOf(identity, folder, { left, sealed, last, unlock });
  } catch (error) {
    unlock();
    throw journalError("open", folder, error);
  }
}

interface JournalState {
  readonly left: readonly JournalOperation[];
  readonly sealed: string[];
  readonly last: number;
  readonly unlock: () => void;
}

function journalOf(
  identity: CollectionIdentity,
  folder: string,
  { left, sealed, last, unlock }: JournalState,
): WriteJournal {
  let number = last;
  let current: { readonly path: string; readonly descriptor: number } | undefined;
  const begin = () => {
    number += 1;
    const path = join(folder, nameOf(number));
    const descriptor = openSync(path, "ax");
    const { collection, storeId } = identity;
    writeLines(descriptor, [{ format: FORMAT, requires: [], collection, storeId }]);
    syncFolder(folder);
    return { path, descriptor };
  };
  const seal = () => {
    if (current === undefined) return;
    closeSync(current.descriptor);
    sealed.push(current.path);
    current = undefined;
  };
  return {
    left,
    append(operations) {
      if (operations.length === 0) return;
      try {
        current ??= begin();
        writeLines(current.descriptor, operations.map(encodeOperation));
      } catch (error) {
        throw journalError("append to", folder, error);
      }
    },
    seal,
    noteDrafts(drafts) {
      const note = { drafts: drafts.map(({ shard, runId }) => ({ shard: shard.shard, runId })) };
      for (const path of sealed) {
        const descriptor = openSync(path, "a");
        try {
          writeLines(descriptor, [note]);
        } finally {
          closeSync(descriptor);
        }
      }
    },
    removeSealed() {
      for (const path of sealed.splice(0)) rmSync(path, { force: true });
    },
    close() {
      seal();
      unlock();
    },
  };
}

function encodeOperation(operation: JournalOperation): EncodedEntry {
  if ("replace" in operation) return operation;
  const { row } = operation;
  if (row.operation !== "put") return { row };
  return { row: { ...row, embedding: Buffer.from(row.embedding).toString("base64") } };
}

function writeLines(descriptor: number, entries: readonly EncodedEntry[]): void {
  const lines = entries.map((entry) => {
    const json = JSON.stringify(entry);
    return `${lineHash(json)} ${json}\n`;
  });
  const bytes = Buffer.from(lines.join(""));
  for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
  fsyncSync(descriptor);
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** The operations of a file whose flush was not registered; after this it never will be. */
async function unregistered(
  ports: Ports,
  identity: CollectionIdentity,
  path: string,
): Promise<readonly JournalOperation[]> {
  const entries = readJournalFile(path, identity)?.entries ?? [];
  const registered = new Set<string>();
  for (const { shard, runId } of entries.flatMap((entry) =>
    "drafts" in entry ? entry.drafts : [],
  )) {
    const ref = shardRefs(identity).find((known) => known.shard === shard);
    if (ref !== undefined && (await ports.log.abandonRun(ref, runId)) === "registered") {
      registered.add(shard);
    }
  }
  return entries.flatMap((entry): JournalOperation[] => {
    if ("replace" in entry) {
      return registered.has(shardOfKey(entry.replace, identity.shards)) ? [] : [entry];
    }
    if (!("row" in entry)) return [];
    return registered.has(shardOf(entry.row.id, identity.shards)) ? [] : [entry];
  });
}

function journalError(action: string, folder: string, cause: unknown): SiltError {
  if (cause instanceof SiltError) return cause;
  return new SiltError("unavailable", `Cannot ${action} journal "${folder}": ${reasonOf(cause)}`, {
    cause,
  });
}
