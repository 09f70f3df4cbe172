import {
  type CollectionIdentity,
  type PutRow,
  parseRecord,
  SiltError,
  type VectorField,
} from "@silt/core";

/** A checked record; `wantsVector` until its document is embedded. */
export interface ParsedRecord {
  readonly row: PutRow;
  readonly wantsVector: boolean;
}

/**
 * Checks a record that may leave its vector to the collection's embedder. Throws `invalid` with the
 * reason. Without a vector the row holds a placeholder that must never be written.
 */
export function parseRecordInput(identity: CollectionIdentity, input: unknown): ParsedRecord {
  const field = identity.vectors[0] as VectorField;
  const record = input as { id?: unknown; embedding?: unknown; document?: unknown } | null;
  const wantsVector =
    record !== null &&
    typeof record === "object" &&
    !Array.isArray(record) &&
    record.embedding == null &&
    field.embedder !== null;
  if (!wantsVector) {
    return { row: parseRecord(input, field, identity.shards), wantsVector: false };
  }
  const placeholder = new Float32Array(field.dimension).fill(1);
  const row = parseRecord({ ...record, embedding: placeholder }, field, identity.shards);
  if (row.document === null || row.document.trim() === "") {
    throw new SiltError(
      "invalid",
      `Cannot put record "${row.id.slice(0, 80)}": it has neither "embedding" nor "document", expected one of them`,
    );
  }
  return { row, wantsVector: true };
}
