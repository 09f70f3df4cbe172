/**
 * A segment engine without SQLite: a bundle or a segment is the JSON of its content, merged by the
 * fold of core, its books balanced as the real engine balances them. Fast enough for most seeds.
 */
import {
  addLanes,
  addSums,
  canonicalJson,
  composeWithAccount,
  countRows,
  type DigestSums,
  EMPTY_CONTENT,
  lanesToHex,
  type MergeAccount,
  type MergedSegment,
  type MergeInput,
  type MergeOptions,
  NO_ACCOUNT,
  type ReceiveOutcome,
  type Row,
  type RowCounts,
  rowSums,
  type SegmentContent,
  type SegmentOwner,
  SiltError,
  sameLanes,
  sha256Of,
  stampSequence,
  type Workbench,
  ZERO_LANES,
  ZERO_SUMS,
} from "@silt/core";

type StoredRow = readonly [
  operation: Row["operation"],
  id: string,
  sequence: number,
  parent: string | null,
  embedding: string,
  document: string | null,
  metadata: string,
];

interface StoredContent {
  readonly owner: string;
  readonly runId: string | null;
  readonly rows: readonly StoredRow[];
  readonly replaced: readonly (readonly [string, number])[];
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const sumsOfRows = new WeakMap<Row, DigestSums>();

function cachedRowSums(row: Row): DigestSums {
  let sums = sumsOfRows.get(row);
  if (sums === undefined) {
    sums = rowSums(row);
    sumsOfRows.set(row, sums);
  }
  return sums;
}

function sumsOf(content: SegmentContent): DigestSums {
  let sums = ZERO_SUMS;
  for (const row of content.rows.values()) sums = addSums(sums, cachedRowSums(row));
  return sums;
}

export function countsOf(content: SegmentContent): RowCounts {
  const counts = { put: 0, patch: 0, delete: 0 };
  for (const row of content.rows.values()) counts[row.operation] += 1;
  return counts;
}

function storedRow(row: Row): StoredRow {
  if (row.operation === "delete") {
    return [row.operation, row.id, row.sequence, null, "", null, ""];
  }
  const { document } = row;
  const metadata = canonicalJson(row.metadata);
  if (row.operation === "patch") {
    return [row.operation, row.id, row.sequence, null, "", document, metadata];
  }
  const embedding = Buffer.from(row.embedding).toString("base64");
  return [row.operation, row.id, row.sequence, row.parent, embedding, document, metadata];
}

function rowOf(stored: StoredRow): Row {
  const [operation, id, sequence, parent, embedding, document, metadata] = stored;
  if (operation === "delete") return { operation, id, sequence };
  if (operation === "patch") {
    return { operation, id, document, metadata: JSON.parse(metadata), sequence };
  }
  return {
    operation,
    id,
    parent,
    embedding: new Uint8Array(Buffer.from(embedding, "base64")),
    document,
    metadata: JSON.parse(metadata),
    sequence,
  };
}

const ownerName = (owner: SegmentOwner) =>
  `${owner.collection}/${owner.storeId}/${owner.shard} ${owner.vectors[0]?.dimension}`;

function encodeContent(owner: SegmentOwner, runId: string | null, content: SegmentContent) {
  const stored: StoredContent = {
    owner: ownerName(owner),
    runId,
    rows: [...content.rows.values()].map(storedRow).sort((a, b) => (a[1] < b[1] ? -1 : 1)),
    replaced: [...content.replaced],
  };
  return encoder.encode(JSON.stringify(stored));
}

async function readBody(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
}

/** What the bytes of a bundle or segment hold; their hash was checked. */
export function decodeContent(
  bytes: Uint8Array,
): SegmentContent & { readonly stored: StoredContent } {
  const stored = JSON.parse(decoder.decode(bytes)) as StoredContent;
  const rows = new Map(stored.rows.map((row) => [row[1], rowOf(row)]));
  return { rows, replaced: new Map(stored.replaced), stored };
}

/** Receives bytes that must have this length and hash, and belong to this owner. */
async function receive(
  owner: SegmentOwner,
  expected: { readonly bytes: number; readonly sha256: string; readonly runId: string | null },
  range: { readonly firstSequence: number; readonly lastSequence: number },
  body: AsyncIterable<Uint8Array>,
): Promise<ReceiveOutcome> {
  const bytes = await readBody(body);
  if (bytes.byteLength !== expected.bytes || sha256Of(bytes) !== expected.sha256) {
    return { outcome: "poison", reason: "it does not have its registered length and hash" };
  }
  const { stored, ...content } = decodeContent(bytes);
  if (stored.owner !== ownerName(owner) || stored.runId !== expected.runId) {
    return { outcome: "poison", reason: `it belongs to ${stored.owner} ${stored.runId}` };
  }
  const input: MergeInput = {
    ...range,
    rows: countsOf(content),
    replaced: content.replaced.size,
    sums: sumsOf(content),
    handle: content,
  };
  return { outcome: "sound", input };
}

const contentOf = (input: MergeInput): SegmentContent => {
  const content = input.handle as SegmentContent;
  // A delta cannot know its sequence number; the log gives it.
  return input.firstSequence === input.lastSequence ? stampUnknown(content, input) : content;
};

function stampUnknown(content: SegmentContent, { firstSequence }: MergeInput): SegmentContent {
  for (const row of content.rows.values()) {
    return row.sequence === 0 ? stampSequence(content, firstSequence) : content;
  }
  return stampSequence(content, firstSequence);
}

function addAccounts(a: MergeAccount, b: MergeAccount): MergeAccount {
  const tally = (one: MergeAccount["created"], two: MergeAccount["created"]) => ({
    rows: one.rows + two.rows,
    t: addLanes(one.t, two.t),
  });
  return {
    created: tally(a.created, b.created),
    consumed: tally(a.consumed, b.consumed),
    superseded: addLanes(a.superseded, b.superseded),
    supersededRows: a.supersededRows + b.supersededRows,
  };
}

function mergeContents(
  inputs: readonly MergeInput[],
  { rule }: MergeOptions,
): { readonly content: SegmentContent; readonly account: MergeAccount } {
  let content = EMPTY_CONTENT;
  let account = NO_ACCOUNT;
  for (const [index, input] of inputs.entries()) {
    const last = index === inputs.length - 1;
    const composed = composeWithAccount(content, contentOf(input), last ? rule : undefined);
    content = composed.content;
    account = addAccounts(account, composed.account);
  }
  return { content, account };
}

/** I3: the books of a merge, as the real engine checks them. */
function checkBalance(
  inputs: readonly MergeInput[],
  out: DigestSums,
  rowsOut: RowCounts,
  account: MergeAccount,
) {
  const vIn = inputs.reduce((sum, input) => addLanes(sum, input.sums.v), ZERO_LANES);
  const tIn = inputs.reduce((sum, input) => addLanes(sum, input.sums.t), ZERO_LANES);
  const rowsIn = inputs.reduce((sum, input) => sum + countRows(input.rows), 0);
  const { created, consumed } = account;
  const balanced =
    sameLanes(vIn, addLanes(out.v, account.superseded)) &&
    sameLanes(addLanes(tIn, created.t), addLanes(out.t, consumed.t)) &&
    rowsIn + created.rows === countRows(rowsOut) + consumed.rows;
  if (balanced) return;
  throw new SiltError(
    "internal",
    `Cannot publish a merge: its accounts do not balance (${rowsIn} rows in, ${countRows(rowsOut)} out, ` +
      `${lanesToHex(vIn)} against ${lanesToHex(out.v)})`,
  );
}

/** The model's workbench: nothing of it lies on a disk. */
export function createFoldWorkbench(): Workbench {
  return {
    freeBytes: async () => Number.MAX_SAFE_INTEGER,
    async buildDelta(owner, { runId, content }) {
      const bytes = encodeContent(owner, runId, content);
      return {
        source: { kind: "bytes", bytes },
        bytes: bytes.byteLength,
        sha256: sha256Of(bytes),
        rows: countsOf(content),
        replaced: content.replaced.size,
      };
    },
    receiveDelta: (owner, run, body) => {
      const { bytes, sha256 } = run.delta;
      const range = { firstSequence: run.sequence, lastSequence: run.sequence };
      return receive(owner, { bytes, sha256, runId: run.runId }, range, body);
    },
    readDelta: async (input) => contentOf(input),
    receiveSegment: (owner, descriptor, body) => {
      const { bytes, sha256 } = descriptor.object;
      const { firstSequence, lastSequence } = descriptor;
      const range = { firstSequence, lastSequence };
      return receive(owner, { bytes, sha256, runId: null }, range, body);
    },
    async auditSegment(_owner, descriptor, input) {
      const sums = sumsOf(input.handle as SegmentContent);
      const same =
        lanesToHex(sums.v) === descriptor.sums.v && lanesToHex(sums.t) === descriptor.sums.t;
      return same ? [] : [`segment "${descriptor.object.key}" does not have its sums`];
    },
    async merge(owner, inputs, options): Promise<MergedSegment> {
      const { content, account } = mergeContents(inputs, options);
      const rows = countsOf(content);
      const sums = sumsOf(content);
      checkBalance(inputs, sums, rows, account);
      const bytes = encodeContent(owner, null, content);
      return {
        source: { kind: "bytes", bytes },
        bytes: bytes.byteLength,
        sha256: sha256Of(bytes),
        rows,
        replaced: content.replaced.size,
        sums,
        account,
      };
    },
    [Symbol.asyncDispose]: async () => {},
  };
}
