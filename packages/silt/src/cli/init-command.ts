import { METRICS } from "@silt/core";
import { type Command, Option } from "commander";
import type { CollectionOptions } from "../collection-settings.ts";
import { parseCount } from "./option-values.ts";
import type { Define } from "./program.ts";

export function defineInit(program: Command, define: Define): void {
  const command = program
    .command("init")
    .description("create a collection; the same settings again change nothing")
    .argument("<collection>", "its name: a-z 0-9 . _ -")
    .option("--dimension <d>", "components of a vector; default: the embedder's", parseCount)
    .addOption(new Option("--metric <metric>", "distance (default: cosine)").choices([...METRICS]))
    .option(
      "--embedder <id>",
      "makes vectors of text or pictures: use-lite, image-descriptor, xenova:…",
    )
    .option(
      "--shards <n>",
      "parts that compact in parallel; fixed for ever (default: 1)",
      parseCount,
    )
    .addOption(
      new Option("--policy <policy>", "how segments are merged (default: tiered)").choices([
        "tiered",
        "single",
      ]),
    );
  define<CollectionOptions>(
    command,
    [
      "silt init notes --embedder use-lite",
      "silt init products --dimension 768 --metric ip --shards 4",
      "silt init small --dimension 384 --policy single",
    ],
    async (run, [name], options) => {
      const { dimension, metric, embedder, shards, policy } = options;
      const store = await run.store({ create: true });
      const { collection, created } = await store.ensureCollection(name as string, {
        ...(dimension !== undefined && { dimension }),
        ...(metric !== undefined && { metric }),
        ...(embedder !== undefined && { embedder }),
        ...(shards !== undefined && { shards }),
        ...(policy !== undefined && { policy }),
      });
      const [status] = await store.status(collection.name);
      const { shards: _, ...settings } = status as NonNullable<typeof status>;
      run.terminal.json({ ...settings, shards: collection.shards, created });
      run.terminal.print(
        `${created ? "created" : "kept"} ${collection.name}: ${collection.dimension} dimensions, ${collection.metric}, ` +
          `${collection.embedder ?? "no embedder"}, ${collection.shards} shard${collection.shards === 1 ? "" : "s"}, ${settings.policy}`,
      );
      return undefined;
    },
  );
}
