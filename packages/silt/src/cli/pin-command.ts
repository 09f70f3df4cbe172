import type { Command } from "commander";
import { plainText } from "../terminal/plain-text.ts";
import type { Define } from "./program.ts";
import { targetOf } from "./version-target.ts";

interface PinFlags {
  readonly shard?: string;
  readonly owner?: string;
  readonly reason?: string;
}

export function definePin(program: Command, define: Define): void {
  const command = program
    .command("pin")
    .description("hold a version: the collector leaves it alone until it is unpinned")
    .argument("<target...>", "[COLLECTION] VERSION; COLLECTION when there are several")
    .option("--shard <name>", "which shard, where there are several")
    .option("--owner <name>", 'who holds it; default "operator"')
    .option("--reason <text>", "shown by silt versions");
  define<PinFlags>(
    command,
    ["silt pin 12", 'silt pin notes 12 --owner audit --reason "year 2026"'],
    async (run, [target], options) => {
      const store = await run.store();
      const [name, version] = await targetOf(store, target as readonly string[]);
      const report = await store.pin(name, version, options);
      run.terminal.json(report);
      run.terminal.print(
        plainText(`${name} ${report.shard}: version ${version} is held by ${report.owner}`),
      );
      return undefined;
    },
  );
}

export function defineUnpin(program: Command, define: Define): void {
  const command = program
    .command("unpin")
    .description("let a version go that was pinned")
    .argument("<target...>", "[COLLECTION] VERSION; COLLECTION when there are several")
    .option("--shard <name>", "which shard, where there are several")
    .option("--owner <name>", 'who held it; default "operator"');
  define<PinFlags>(
    command,
    ["silt unpin 12", "silt unpin notes 12 --owner audit"],
    async (run, [target], options) => {
      const store = await run.store();
      const [name, version] = await targetOf(store, target as readonly string[]);
      const report = await store.unpin(name, version, options);
      run.terminal.json(report);
      run.terminal.print(
        plainText(
          `${name} ${report.shard}: version ${version} is no longer held by ${report.owner}`,
        ),
      );
      return undefined;
    },
  );
}
