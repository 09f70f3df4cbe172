import type { Command } from "commander";
import { refuseUsage } from "./command-run.ts";
import { collect, givenOf, parseJsonObject } from "./option-values.ts";
import type { Define } from "./program.ts";
import { printAcknowledgement } from "./put-command.ts";

interface DeleteFlags {
  readonly id?: readonly string[];
  readonly parent?: readonly string[];
  readonly where?: object;
}

export function defineDelete(program: Command, define: Define): void {
  const command = program
    .command("delete")
    .description("delete records by id, by parent, or by a metadata filter")
    .argument("<collection>")
    .option("--id <id...>", "ids")
    .option("--parent <parent>", "all records of this parent; may be repeated", collect)
    .option("--where <json>", "all records that match now, pending ones included", parseJsonObject);
  define<DeleteFlags>(
    command,
    [
      "silt delete notes --id a b c",
      "silt delete lines --parent file:///photos/receipt.png",
      `silt delete notes --where '{"draft": true}'`,
    ],
    async (run, [name], { id, parent, where }) => {
      const given = givenOf({ id, parent, where });
      if (given.length !== 1) {
        refuseUsage(
          `Cannot delete: ${given.length} of --id, --parent and --where are given, expected one`,
        );
      }
      const store = await run.store();
      const collection = await store.collection(name as string);
      printAcknowledgement(run, await collection.delete({ id, parent, where }));
      return undefined;
    },
  );
}
