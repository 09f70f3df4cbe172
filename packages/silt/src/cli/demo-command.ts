/** The whole story on sample pictures, in a new temporary store. */
import {
  closeSync,
  cpSync,
  existsSync,
  mkdtempSync,
  openSync,
  readSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SiltError } from "@silt/core";
import type { Command } from "commander";
import type { Store } from "../store.ts";
import { formatCount } from "../terminal/format-count.ts";
import { formatDuration } from "../terminal/format-duration.ts";
import { type CommandRun, refuseUsage } from "./command-run.ts";
import { printReports } from "./compact-command.ts";
import { ingestWithBar } from "./ingest-command.ts";
import type { Define } from "./program.ts";
import { printResults } from "./query-command.ts";
import { printReport } from "./verify-command.ts";

const TEXT_QUERY = "two coffees";
const PICTURE = "photo-alps.jpg";
const FLIPPED_BIT = 0b0000_0100;

export function defineDemo(program: Command, define: Define): void {
  const command = program
    .command("demo")
    .description("the whole story on sample pictures in a new temporary store, under a minute");
  define(command, ["silt demo"], async (run) => {
    const start = run.host.nowMs();
    const folder = mkdtempSync(join(tmpdir(), "silt-demo-"));
    const location = join(folder, "store");
    await using store = await run.storeAt(location, { create: true });
    const told = await tell(run, store, folder);
    const ms = run.host.nowMs() - start;
    run.terminal.json({ location, ms, ...told });
    sayNext(run, location, ms);
    return undefined;
  });
}

/** Sample pictures lie in the checkout's `examples/`, or beside the installed command. */
function samplePictures(): string {
  const places = [
    "../../../../examples/images",
    "../../examples/images",
    "../../../examples/images",
  ];
  const found = places
    .map((place) => fileURLToPath(new URL(place, import.meta.url)))
    .find((place) => existsSync(join(place, PICTURE)));
  return found ?? refuseUsage("Cannot show the demo: its sample pictures are not installed");
}

async function tell(run: CommandRun, store: Store, folder: string): Promise<object> {
  const pictures = samplePictures();
  step(run, "Pictures become records: OCR lines and words, one embedding for each picture");
  const ingested = await ingestWithBar(run, (onProgress) =>
    store.ingest([pictures], { signal: run.signal, onProgress }),
  );
  const { lines, words, images } = ingested.records;
  run.terminal.print(
    `${formatCount(ingested.ingested)} pictures gave ${formatCount(lines)} lines, ${formatCount(words)} words and ` +
      `${formatCount(images)} images in ${formatCount(ingested.registered)} durable, registered runs`,
  );

  const collection = await store.collection("lines");
  step(run, `Nothing is compacted yet, but a fresh read sees it: "${TEXT_QUERY}"`);
  const fresh = await collection.query({ text: TEXT_QUERY, k: 1, fresh: true });
  printResults(run, fresh);

  step(run, "Compact: fold what is pending into a new version, flip the pointer");
  const compacted = await store.compact(undefined, { signal: run.signal });
  printReports(run, compacted);

  step(run, "Verify every object, row, vector and run");
  const verifyStart = run.host.nowMs();
  const verified = await store.verify({ signal: run.signal });
  printReport(run, verified, run.host.nowMs() - verifyStart);

  step(run, `Search by text: "${TEXT_QUERY}"`);
  const byText = await collection.query({ text: TEXT_QUERY, k: 3 });
  printResults(run, byText);

  step(run, `Search by picture: ${PICTURE} (a hand-made descriptor: near-duplicates, not meaning)`);
  const picture = join(pictures, PICTURE);
  const byPicture = await (await store.collection("images")).query({ image: picture, k: 3 });
  printResults(run, byPicture);

  step(run, "Flip one bit of a segment in a copy of the store");
  const damaged = await damageCopy(run, store, folder);
  return { ingested, fresh, compacted, verified, byText, byPicture, damaged };
}

/** Verifies a copy of the store in which one bit of the largest segment is another. */
async function damageCopy(run: CommandRun, store: Store, folder: string): Promise<object> {
  const copy = join(folder, "damaged-copy");
  cpSync(store.location, copy, { recursive: true });
  const [target] = (await store.context.ports.objects.list("collections/lines/", { limit: 1_000 }))
    .filter(({ key }) => key.endsWith(".sqlite"))
    .toSorted((a, b) => b.bytes - a.bytes);
  if (target === undefined) throw new SiltError("internal", "Cannot damage the copy: no segment");
  flipBit(join(copy, target.key));
  await using damaged = await run.storeAt(copy, { create: false });
  const start = run.host.nowMs();
  const report = await damaged.verify({ signal: run.signal });
  printReport(run, report, run.host.nowMs() - start);
  if (report.ok) throw new SiltError("internal", "Cannot trust verify: it missed a flipped bit");
  return { object: target.key, problems: report.problems };
}

function flipBit(path: string): void {
  const at = Math.floor(statSync(path).size * 0.75);
  const descriptor = openSync(path, "r+");
  try {
    const byte = Buffer.alloc(1);
    readSync(descriptor, byte, 0, 1, at);
    byte[0] = (byte[0] as number) ^ FLIPPED_BIT;
    writeSync(descriptor, byte, 0, 1, at);
  } finally {
    closeSync(descriptor);
  }
}

function step(run: CommandRun, text: string): void {
  run.terminal.print();
  run.terminal.print(run.terminal.paint.bold(text));
}

function sayNext({ terminal }: CommandRun, location: string, ms: number): void {
  terminal.print();
  terminal.print(
    `${terminal.paint.green("done")} in ${formatDuration(ms)}. The store is ${location}; try:`,
  );
  const commands = [
    `status --store ${location}`,
    `query lines "lost cat" --store ${location}`,
    `get words --where '{"confidence": {"$lt": 60}}' --store ${location}`,
    `ingest YOUR-PICTURES/ --store ${location}`,
  ];
  // In a checkout the command is not on the PATH.
  const silt = import.meta.url.endsWith(".ts") ? "npx silt" : "silt";
  for (const command of commands) terminal.print(`  ${silt} ${command}`);
}
