/** Records and where answers come from, as people read them. */
import type { AnswerOrigin } from "../answer-origin.ts";
import type { StoredRecord } from "../collection.ts";
import { formatCount } from "../terminal/format-count.ts";
import type { CommandRun } from "./command-run.ts";

/** Where a record is (for text in a picture: file, line and box) and what it says. */
export function describeRecord(
  record: Omit<StoredRecord, "embedding">,
): readonly [place: string, text: string] {
  return [placeOf(record), record.document ?? metadataText(record)];
}

function placeOf({ id, metadata }: Omit<StoredRecord, "embedding">): string {
  const { file, kind, line, word, x, y, width, height } = metadata;
  if (typeof file !== "string") return id;
  if (kind === "image") return file;
  const at = [line === undefined ? "" : ` line ${line}`, word === undefined ? "" : ` word ${word}`];
  return `${file}${at.join("")} at ${x},${y} ${width}x${height}`;
}

function metadataText({ metadata }: Omit<StoredRecord, "embedding">): string {
  const entries = Object.entries(metadata);
  return entries.map(([key, value]) => `${key}=${value}`).join(" ");
}

/** Warnings, the version, and what the answer lacks. */
export function printOrigin({ terminal }: CommandRun, origin: AnswerOrigin): void {
  for (const warning of origin.warnings) {
    terminal.note(`${terminal.paint.yellow("warning")} ${warning}`);
  }
  const version =
    origin.version === undefined ? `${origin.shards?.length} shards` : `version ${origin.version}`;
  const lacking =
    origin.behind === 0
      ? ""
      : `; ${formatCount(origin.behind)} registered run${origin.behind === 1 ? "" : "s"} not in it (--fresh sees them)`;
  terminal.note(terminal.paint.dim(`${origin.collection} ${version}${lacking}`));
}
