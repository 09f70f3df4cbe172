/**
 * What a log means, said as plainly as possible: one run after the other, one operation after the
 * other, on a Map of records. It shares no code with the fold, which is tested against it.
 */
import type { SegmentContent } from "@silt/core";

/** A record in a form that can be compared by value. */
export interface LiveRecord {
  readonly parent: string | null;
  /** Hexadecimal. */
  readonly embedding: string;
  readonly document: string | null;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** The run that last touched it. */
  readonly sequence: number;
}

export type ReferenceModel = Map<string, LiveRecord>;

const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** Changes `model` as one run does: replaced parents first, then each operation. */
export function applyRun(model: ReferenceModel, content: SegmentContent): void {
  for (const parent of content.replaced.keys()) {
    for (const [id, record] of [...model]) if (record.parent === parent) model.delete(id);
  }
  for (const row of content.rows.values()) {
    if (row.operation === "delete") {
      model.delete(row.id);
      continue;
    }
    if (row.operation === "put") {
      const { parent, document, metadata, sequence } = row;
      model.set(row.id, {
        parent,
        embedding: hexOf(row.embedding),
        document,
        metadata: { ...metadata },
        sequence,
      });
      continue;
    }
    const record = model.get(row.id);
    if (record === undefined) continue;
    const metadata: Record<string, unknown> = { ...record.metadata };
    for (const key of Object.keys(row.metadata)) {
      if (row.metadata[key] === null) delete metadata[key];
      else metadata[key] = row.metadata[key];
    }
    const document = row.document === null ? record.document : row.document;
    model.set(row.id, { ...record, document, metadata, sequence: row.sequence });
  }
}

/** The records after all runs of a log, in its order. */
export function modelOf(log: readonly SegmentContent[]): ReferenceModel {
  const model: ReferenceModel = new Map();
  for (const content of log) applyRun(model, content);
  return model;
}

/** The records that a content holds when nothing lies below it. */
export function liveRecords(content: SegmentContent): ReferenceModel {
  const live: ReferenceModel = new Map();
  for (const row of content.rows.values()) {
    if (row.operation !== "put") continue;
    const { id, parent, embedding, document, metadata, sequence } = row;
    live.set(id, {
      parent,
      embedding: hexOf(embedding),
      document,
      metadata: { ...metadata },
      sequence,
    });
  }
  return live;
}
