/**
 * The journal of one writer: append-only files, each line with its hash, synced before a write is
 * taken. A flush seals the current file; the files go when its runs are registered. After a crash
 * the run ids noted in a file tell whether a flush had been registered: nothing is applied twice.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
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
const nameOf = (number: number) => `${String(number).padStart(9, "0")}.journal`;

interface Header {
  readonly format: number;
  readonly requires: readonly string[];
  readonly collection: string;
  readonly storeId: string;
}

interface DraftNote {
  readonly drafts: readonly { readonly shard: string; readonly runId: string }[];
}

type EncodedRow = Omit<Row, "embedding"> & { readonly embedding?: string };
type Entry = Header | DraftNote | { readonly row: EncodedRow } | { readonly replace: string };

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
    return journalOf(identity, folder, { left, sealed, last, unlock });
  } catch (error) {
    unlock();
    throw error;
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

function encodeOperation(operation: JournalOperation): Entry {
  if ("replace" in operation) return operation;
  const { row } = operation;
  if (row.operation !== "put") return { row };
  return { row: { ...row, embedding: Buffer.from(row.embedding).toString("base64") } };
}

function decodeRow({ embedding, ...row }: EncodedRow): Row {
  if (embedding === undefined) return row as Row;
  return { ...row, embedding: new Uint8Array(Buffer.from(embedding, "base64")) } as Row;
}

const hashOf = (json: string) => createHash("sha256").update(json).digest("hex").slice(0, 16);

function writeLines(descriptor: number, entries: readonly Entry[]): void {
  const lines = entries.map((entry) => {
    const json = JSON.stringify(entry);
    return `${hashOf(json)} ${json}\n`;
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

/** The entries of a file. A torn end was never acknowledged; damage before it is `corrupt`. */
function readEntries(path: string): readonly Entry[] {
  const lines = readFileSync(path, "utf8").split("\n");
  const entries: Entry[] = [];
  for (const [index, line] of lines.entries()) {
    const json = line.slice(17);
    if (line.slice(0, 17) === `${hashOf(json)} `) {
      entries.push(JSON.parse(json));
      continue;
    }
    if (lines.slice(index + 1).every((rest) => rest === "")) break;
    throw new SiltError(
      "corrupt",
      `Cannot replay journal "${path}": line ${index + 1} is damaged; move the file away to go on without it`,
    );
  }
  return entries;
}

/** The operations of a file whose flush was not registered; after this it never will be. */
async function unregistered(
  ports: Ports,
  identity: CollectionIdentity,
  path: string,
): Promise<readonly JournalOperation[]> {
  const [header, ...entries] = readEntries(path);
  if (header === undefined) return [];
  checkHeader(header as Header, identity, path);
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
    const row = decodeRow(entry.row);
    return registered.has(shardOf(row.id, identity.shards)) ? [] : [{ row }];
  });
}

function checkHeader(header: Header, identity: CollectionIdentity, path: string): void {
  const { collection, storeId } = identity;
  const mine =
    header.format === FORMAT &&
    Array.isArray(header.requires) &&
    header.requires.length === 0 &&
    header.collection === collection &&
    header.storeId === storeId;
  if (mine) return;
  throw new SiltError(
    "invalid",
    `Cannot replay journal "${path}": it belongs to ${header.collection}/${header.storeId} in format ${header.format}, ` +
      `expected ${collection}/${storeId} in format ${FORMAT}; use another folder`,
  );
}

function journalError(action: string, folder: string, cause: unknown): SiltError {
  if (cause instanceof SiltError) return cause;
  return new SiltError("unavailable", `Cannot ${action} journal "${folder}": ${reasonOf(cause)}`, {
    cause,
  });
}
