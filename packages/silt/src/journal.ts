/**
 * The journal of one writer: append-only files, each line with its hash, synced before a write is
 * taken. A call is one line, so that a crash takes all of it or nothing. A flush seals the current
 * file; the files go when its runs are registered. After a crash the run ids noted in a file tell
 * whether a flush had been registered: nothing is applied twice. Nothing is appended to a torn end.
 */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import {
  type CollectionIdentity,
  FORMAT,
  type Ports,
  type RunDraft,
  reasonOf,
  SiltError,
  shardOf,
  shardOfKey,
  shardRefs,
} from "@silt/core";
import {
  type DraftNote,
  type EncodedOperation,
  type JournalEntry,
  type JournalHeader,
  type JournalOperation,
  lineHash,
  readJournalFile,
} from "./journal-entries.ts";
import { lockJournal } from "./lock-journal.ts";

export type { JournalOperation } from "./journal-entries.ts";

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

type EncodedEntry = JournalHeader | DraftNote | { readonly call: readonly EncodedOperation[] };

/** A file, and how much of it is whole lines. */
interface JournalFile {
  readonly path: string;
  bytes: number;
}

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
  const lock = lockJournal(folder);
  try {
    const names = readdirSync(folder).filter((name) => NAME.test(name));
    const sealed: JournalFile[] = [];
    const left: JournalOperation[] = [];
    for (const path of names.sort().map((name) => join(folder, name))) {
      const { entries, bytes } = readJournalFile(path, identity);
      sealed.push({ path, bytes });
      left.push(...(await unregistered(ports, identity, entries)));
    }
    const last = Number(NAME.exec(names.at(-1) ?? "")?.[1] ?? 0);
    if (last === NUMBER_MAX) {
      throw new SiltError(
        "corrupt",
        `Cannot open journal "${folder}": its files are numbered up to ${last}; use another folder`,
      );
    }
    return journalOf(identity, folder, { left, sealed, last, lock });
  } catch (error) {
    lock[Symbol.dispose]();
    throw journalError("open", folder, error);
  }
}

interface JournalState {
  readonly left: readonly JournalOperation[];
  readonly sealed: JournalFile[];
  readonly last: number;
  readonly lock: Disposable;
}

function journalOf(
  identity: CollectionIdentity,
  folder: string,
  { left, sealed, last, lock }: JournalState,
): WriteJournal {
  let number = last;
  let current: JournalFile | undefined;
  const attempting = (action: string, attempt: () => void) => {
    try {
      attempt();
    } catch (error) {
      throw journalError(action, folder, error);
    }
  };
  const begun = () => {
    if (current !== undefined) return current;
    number += 1;
    current = beginFile(join(folder, nameOf(number)), identity);
    return current;
  };
  const seal = () => {
    if (current !== undefined) sealed.push(current);
    current = undefined;
  };
  return {
    left,
    append(operations) {
      if (operations.length === 0) return;
      attempting("append to", () => appendLine(begun(), { call: operations.map(encodeOperation) }));
    },
    seal,
    noteDrafts(drafts) {
      const note = { drafts: drafts.map(({ shard, runId }) => ({ shard: shard.shard, runId })) };
      attempting("append to", () => {
        for (const file of sealed) {
          // A file without its header holds nothing that could be flushed.
          if (file.bytes > 0) appendLine(file, note);
        }
      });
    },
    removeSealed() {
      attempting("clear", () => {
        for (const { path } of sealed) rmSync(path, { force: true });
      });
      sealed.length = 0;
    },
    close() {
      seal();
      lock[Symbol.dispose]();
    },
  };
}

/** Makes a file with its header, durably; one that cannot be whole goes again. */
function beginFile(path: string, { collection, storeId }: CollectionIdentity): JournalFile {
  const file: JournalFile = { path, bytes: 0 };
  closeSync(openSync(path, "wx"));
  try {
    appendLine(file, { format: FORMAT, requires: [], collection, storeId });
    syncFolder(dirname(path));
    return file;
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
}

/** Appends a line after the last whole one, and syncs it. When that fails nothing of it counts. */
function appendLine(file: JournalFile, entry: EncodedEntry): void {
  const json = JSON.stringify(entry);
  const line = Buffer.from(`${lineHash(json)} ${json}\n`);
  const descriptor = openSync(file.path, "r+");
  try {
    // What a crash or a full disk has left of an earlier line.
    if (fstatSync(descriptor).size > file.bytes) ftruncateSync(descriptor, file.bytes);
    for (let at = 0; at < line.length; ) {
      at += writeSync(descriptor, line, at, line.length - at, file.bytes + at);
    }
    fsyncSync(descriptor);
    file.bytes += line.length;
  } catch (error) {
    // Else a crash would let a call be replayed that its caller was told has failed.
    ftruncateSync(descriptor, file.bytes);
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

function encodeOperation(operation: JournalOperation): EncodedOperation {
  if ("replace" in operation) return operation;
  const { row } = operation;
  if (row.operation !== "put") return { row };
  return { row: { ...row, embedding: Buffer.from(row.embedding).toString("base64") } };
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
  entries: readonly JournalEntry[],
): Promise<readonly JournalOperation[]> {
  const registered = new Set<string>();
  for (const { shard, runId } of entries.flatMap((entry) =>
    "drafts" in entry ? entry.drafts : [],
  )) {
    const ref = shardRefs(identity).find((known) => known.shard === shard);
    if (ref !== undefined && (await ports.log.abandonRun(ref, runId)) === "registered") {
      registered.add(shard);
    }
  }
  const shardOfOperation = (operation: JournalOperation) =>
    "replace" in operation
      ? shardOfKey(operation.replace, identity.shards)
      : shardOf(operation.row.id, identity.shards);
  return entries
    .flatMap((entry) => ("call" in entry ? entry.call : []))
    .filter((operation) => !registered.has(shardOfOperation(operation)));
}

function journalError(action: string, folder: string, cause: unknown): SiltError {
  if (cause instanceof SiltError) return cause;
  return new SiltError("unavailable", `Cannot ${action} journal "${folder}": ${reasonOf(cause)}`, {
    cause,
  });
}
