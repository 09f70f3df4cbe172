import type { VersionSelection } from "@silt/reader";
import type { Command } from "commander";
import type { GetAnswer } from "../collection.ts";
import type { CommandRun } from "./command-run.ts";
import {
  parseCount,
  parseJsonObject,
  parseVersion,
  refuseFreshVersion,
  VERSION_HELP,
} from "./option-values.ts";
import type { Define } from "./program.ts";
import { printOrigin } from "./record-lines.ts";

interface GetFlags {
  readonly parent?: string;
  readonly where?: object;
  readonly whereDocument?: object;
  readonly limit?: number;
  readonly embeddings?: boolean;
  readonly fresh?: boolean;
  readonly version?: VersionSelection;
}

/** People are not flooded; a program gets all that it asked for. */
const LIMIT_DEFAULT = 100;

export function defineGet(program: Command, define: Define): void {
  const command = program
    .command("get")
    .description("records by id, parent or filter")
    .argument("<collection>")
    .argument("[id...]", "ids, in the order wanted")
    .option("--parent <parent>", "all records of a parent")
    .option("--where <json>", "only records whose metadata match", parseJsonObject)
    .option("--where-document <json>", "only records whose document matches", parseJsonObject)
    .option(
      "--limit <n>",
      `at most so many (default: ${LIMIT_DEFAULT}; by id or with --json: all)`,
      parseCount,
    )
    .option("--embeddings", "with their embeddings (in --json)")
    .option("--fresh", "also see what no compaction has applied yet")
    .option("--version <n>", VERSION_HELP, parseVersion);
  define<GetFlags>(
    command,
    [
      "silt get notes a b",
      "silt get lines --parent file:///photos/receipt.png --json",
      `silt get notes --where '{"shop": {"$in": ["Kino", "Velo"]}}' --limit 20`,
    ],
    async (run, [name, ids], options) => {
      const { parent, where, whereDocument, embeddings, fresh, version } = options;
      refuseFreshVersion(fresh, version);
      const given = ids as readonly string[];
      const all = run.json || given.length > 0;
      const limit = options.limit ?? (all ? Number.MAX_SAFE_INTEGER : LIMIT_DEFAULT);
      const store = await run.store();
      const collection = await store.collection(name as string);
      const answer = await collection.get({
        ids: given.length > 0 ? given : undefined,
        parent,
        where,
        whereDocument,
        embeddings,
        fresh,
        version,
        // One more tells whether there are more.
        limit: limit + 1,
      });
      const records = answer.records.slice(0, limit);
      const more = answer.records.length > limit;
      run.terminal.json({ ...answer, records: records.map(jsonOf), more });
      printRecords(run, { ...answer, records }, more);
      return undefined;
    },
  );
}

function jsonOf({ embedding, ...record }: GetAnswer["records"][number]): object {
  return embedding === undefined ? record : { ...record, embedding: Array.from(embedding) };
}

function printRecords(run: CommandRun, answer: GetAnswer, more: boolean): void {
  const { terminal } = run;
  if (answer.records.length === 0) terminal.print("nothing found");
  else {
    terminal.table(
      ["id", "parent", { title: "document", shrinks: true }, { title: "metadata", shrinks: true }],
      answer.records.map(({ id, parent, document, metadata }) => [
        id,
        parent,
        document,
        Object.keys(metadata).length === 0 ? "" : JSON.stringify(metadata),
      ]),
    );
  }
  if (more) terminal.note(`there are more; --limit ${answer.records.length * 10} shows more`);
  printOrigin(run, answer);
}
