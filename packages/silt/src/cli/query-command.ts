import type { VersionSelection } from "@silt/reader";
import type { Command } from "commander";
import type { QueryAnswer, QueryOptions } from "../collection.ts";
import type { CommandRun } from "./command-run.ts";
import { refuseUsage } from "./command-run.ts";
import { inputText } from "./input-source.ts";
import {
  givenOf,
  parseCount,
  parseJsonObject,
  parseVersion,
  refuseFreshVersion,
  VERSION_HELP,
} from "./option-values.ts";
import type { Define } from "./program.ts";
import { describeRecord, printOrigin } from "./record-lines.ts";

interface QueryFlags {
  readonly vector?: string;
  readonly image?: string;
  readonly limit: number;
  readonly where?: object;
  readonly whereDocument?: object;
  readonly fresh?: boolean;
  readonly version?: VersionSelection;
}

const VECTOR_BYTES_MAX = 1024 * 1024;

export function defineQuery(program: Command, define: Define): void {
  const command = program
    .command("query")
    .description("the nearest records to a text, a vector or a picture; exact")
    .argument("<collection>")
    .argument("[text]", "what to look for, by the collection's embedder")
    .option("--vector <file>", "a JSON array of numbers; - for standard input")
    .option("--image <file>", "a picture, by the collection's embedder")
    .option("-k, --limit <n>", "how many", parseCount, 10)
    .option("--where <json>", "only records whose metadata match", parseJsonObject)
    .option("--where-document <json>", "only records whose document matches", parseJsonObject)
    .option("--fresh", "also see what no compaction has applied yet")
    .option("--version <n>", VERSION_HELP, parseVersion);
  define<QueryFlags>(
    command,
    [
      'silt query lines "two coffees" -k 5 --fresh',
      `silt query lines coffee --where '{"shop": "Kino", "confidence": {"$gte": 80}}'`,
      "silt query images --image photo.jpg",
      "echo '[0.1, 0.2, 0.3]' | silt query notes --vector -",
    ],
    async (run, [name, text], options) => {
      const query = await queryOf(run, text as string | undefined, options);
      const store = await run.store();
      const collection = await store.collection(name as string);
      const answer = await collection.query(query);
      run.terminal.json(answer);
      printResults(run, answer);
      return undefined;
    },
  );
}

async function queryOf(
  run: CommandRun,
  text: string | undefined,
  options: QueryFlags,
): Promise<QueryOptions> {
  const { vector, image, limit: k, where, whereDocument, fresh, version } = options;
  refuseFreshVersion(fresh, version);
  const given = givenOf({ text, vector, image });
  if (given.length !== 1) {
    refuseUsage(
      `Cannot query: ${given.length} of TEXT, --vector and --image are given, expected one`,
    );
  }
  const filters = { k, where, whereDocument, fresh, version };
  if (vector === undefined) return { ...filters, text, image };
  return { ...filters, vector: await readVector(run, vector) };
}

async function readVector(run: CommandRun, file: string): Promise<readonly number[]> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await inputText(run, file, VECTOR_BYTES_MAX));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    refuseUsage(`Cannot read vector "${file}": it is not JSON (${error.message})`);
  }
  if (Array.isArray(parsed) && parsed.every((component) => typeof component === "number")) {
    return parsed;
  }
  return refuseUsage(`Cannot read vector "${file}": expected a JSON array of numbers`);
}

/** Results as a table, with what they were made from. */
export function printResults(run: CommandRun, answer: QueryAnswer): void {
  const { terminal } = run;
  if (answer.results.length === 0) terminal.print("nothing found");
  else {
    terminal.table(
      [
        { title: "distance", align: "right" },
        { title: "where" },
        { title: "document", shrinks: true },
      ],
      answer.results.map((result) => [result.distance.toFixed(4), ...describeRecord(result)]),
    );
  }
  printOrigin(run, answer);
}
