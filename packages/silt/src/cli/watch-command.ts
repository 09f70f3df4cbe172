import type { PipelineKind } from "@silt/embed";
import type { Command } from "commander";
import { type WatchEvent, watchFolder } from "../ingest/watch-folder.ts";
import { plainText } from "../terminal/plain-text.ts";
import type { CommandRun } from "./command-run.ts";
import { pipelineOption } from "./ingest-command.ts";
import type { Define } from "./program.ts";

export function defineWatch(program: Command, define: Define): void {
  const command = program
    .command("watch")
    .description(
      "ingest every picture that appears, changes or goes in a folder, and compact; until interrupted",
    )
    .argument("<folder>")
    .addOption(pipelineOption());
  define<{ pipeline?: PipelineKind }>(
    command,
    ["silt watch photos/", "silt watch photos/ --json | tee events.jsonl"],
    async (run, [folder], { pipeline }) => {
      const store = await run.store({ create: true });
      try {
        await watchFolder(store.context.ports, folder as string, {
          signal: run.signal,
          ...(pipeline !== undefined && { pipeline }),
          onEvent: (event) => tellEvent(run, event),
        });
      } catch (error) {
        // To be interrupted is how it ends, also in the middle of its work.
        if (!run.signal.aborted) throw error;
      }
      return undefined;
    },
  );
}

/** JSON Lines for programs, a line for people. */
function tellEvent({ terminal }: CommandRun, event: WatchEvent): void {
  terminal.json(event);
  const { event: name, ...facts } = event;
  const text = Object.entries(facts)
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
  terminal.print(`${terminal.paint.cyan(name)} ${plainText(text)}`);
}
