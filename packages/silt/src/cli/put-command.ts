import type { Command } from "commander";
import type { Acknowledgement } from "../acknowledgement.ts";
import { writeLines } from "../bulk-input.ts";
import { formatCount } from "../terminal/format-count.ts";
import type { CommandRun } from "./command-run.ts";
import { inputBytes } from "./input-source.ts";
import type { Define } from "./program.ts";

export function definePut(program: Command, define: Define): void {
  const command = program
    .command("put")
    .description(
      "store records from JSON Lines; the whole input is checked before anything is written",
    )
    .argument("<collection>")
    .argument(
      "[file]",
      'JSON Lines: {"id", "parent"?, "embedding"?, "document"?, "metadata"?}; - or nothing: standard input',
    )
    .option("--replace", "first remove all earlier records of each parent that occurs");
  define<{ replace?: boolean }>(
    command,
    [
      "silt put notes notes.jsonl",
      `echo '{"id": "a", "document": "two coffees"}' | silt put notes -`,
      "silt put lines page-7.jsonl --replace",
    ],
    (run, [name, file], { replace }) =>
      write(run, name as string, file as string | undefined, { operation: "put", replace }),
  );
}

export function definePatch(program: Command, define: Define): void {
  const command = program
    .command("patch")
    .description(
      "change documents or metadata of records that exist; a metadata key with null is removed",
    )
    .argument("<collection>")
    .argument(
      "[file]",
      'JSON Lines: {"id", "document"?, "metadata"?}; - or nothing: standard input',
    );
  define(
    command,
    [`echo '{"id": "a", "metadata": {"seen": true, "draft": null}}' | silt patch notes -`],
    (run, [name, file]) =>
      write(run, name as string, file as string | undefined, { operation: "patch" }),
  );
}

async function write(
  run: CommandRun,
  name: string,
  file: string | undefined,
  options: { readonly operation: "put" | "patch"; readonly replace?: boolean | undefined },
): Promise<undefined> {
  const store = await run.store();
  const collection = await store.collection(name);
  const checking = run.terminal.progress("check", "lines");
  let writing: ReturnType<typeof run.terminal.progress> | undefined;
  try {
    const acknowledged = await writeLines(
      store.context,
      collection.identity,
      inputBytes(run, file),
      {
        ...options,
        signal: run.signal,
        onProgress: (step, done, total) => {
          if (step === "check") return checking.update(done);
          writing ??= run.terminal.progress("write", "records");
          writing.update(done, total);
        },
      },
    );
    checking.end();
    writing?.end();
    printAcknowledgement(run, acknowledged);
  } finally {
    checking.end();
    writing?.end();
  }
  return undefined;
}

/** What writes say when they are durable and registered. */
export function printAcknowledgement(run: CommandRun, acknowledged: Acknowledgement): void {
  run.terminal.json(acknowledged);
  const { runs, collection } = acknowledged;
  const where = runs.map(({ sequence, shard }) => `${shard} run ${sequence}`).join(", ");
  const count = formatCount(acknowledged.acknowledged);
  run.terminal.print(
    runs.length === 0
      ? `nothing to write to ${collection}`
      : `acknowledged ${count} in ${collection} (${runs.length > 4 ? `${runs.length} runs` : where})`,
  );
}
