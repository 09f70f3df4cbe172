/** `aws:demo`: pictures go into the uploads bucket; what follows, the deployed stack does by itself. */
import { createReadStream, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { isImageName } from "@silt/embed";
import { openStore } from "../packages/silt/src/index.ts";
import type { StackOutputs } from "./deploy.ts";

const PICTURES = join(import.meta.dirname, "..", "examples", "images");
const QUERY = "two coffees";
const WAIT_MS_MAX = 300_000;
const POLL_MS = 1_000;

type Say = (line: string) => void;

/** Uploads the example pictures and shows the pipeline at work until a search answers. */
export async function runDemo(outputs: StackOutputs, say: Say): Promise<void> {
  const start = Date.now();
  const names = readdirSync(PICTURES).filter(isImageName);
  await uploadAll(outputs.UploadsBucket, names);
  say(`${names.length} pictures uploaded to s3://${outputs.UploadsBucket}; nothing else is called`);

  await using store = await openStoreOnceMade(outputs.StoreLocation);
  const sources = names.map((name) => `s3://${outputs.UploadsBucket}/${name}`);
  const seconds = () => `${((Date.now() - start) / 1000).toFixed(1)} s`;
  let shown = "";
  let hasAnswered = false;
  for (;;) {
    const states = await Promise.all(sources.map((source) => store.sourceStatus(source)));
    const count = (state: string) => states.filter((one) => one.state === state).length;
    const line = `${count("unknown")} waiting, ${count("pending")} registered, ${count("applied")} in the current versions`;
    if (line !== shown) say(`${seconds().padStart(7)}  ${line}`);
    shown = line;
    if (!hasAnswered && count("unknown") < names.length) {
      hasAnswered = await answersFresh(store, (text) => say(`${seconds().padStart(7)}  ${text}`));
    }
    const failed = states.find(({ state }) => state === "failed");
    if (failed !== undefined) throw new Error(`${failed.source}: ${failed.reason}`);
    if (count("applied") === names.length) break;
    if (Date.now() - start > WAIT_MS_MAX) throw new Error(`not done after ${seconds()}: ${line}`);
    await sleep(POLL_MS);
  }

  const lines = await store.collection("lines");
  const { results } = await lines.query({ text: QUERY, k: 3 });
  say(`\nSearch the compacted version: "${QUERY}"`);
  for (const { distance, parent, document } of results) {
    say(`  ${distance.toFixed(4)}  ${parent}  ${document}`);
  }
  const verified = await store.verify();
  const { objects, rows, runs } = verified.checked;
  say(
    `\nverify: ${verified.ok ? "sound" : "DAMAGED"}: ${objects} objects, ${rows} rows, ${runs} runs`,
  );
  if (!verified.ok) throw new Error(JSON.stringify(verified.problems));
  say(`done in ${seconds()}. Try:\n  npx silt status --store "${outputs.StoreLocation}"`);
}

async function uploadAll(bucket: string, names: readonly string[]): Promise<void> {
  using s3 = Object.assign(new S3Client(), { [Symbol.dispose]: () => s3.destroy() });
  for (const name of names) {
    const path = join(PICTURES, name);
    const Body = createReadStream(path);
    const ContentLength = statSync(path).size;
    const Metadata = sidecarOf(path);
    await s3.send(
      new PutObjectCommand({ Bucket: bucket, Key: name, Body, ContentLength, Metadata }),
    );
  }
}

/** What lies beside a picture on a disk is user metadata of an object. */
function sidecarOf(path: string): Record<string, string> {
  try {
    const sidecar = JSON.parse(readFileSync(`${path}.json`, "utf8")) as Record<string, unknown>;
    return Object.fromEntries(Object.entries(sidecar).map(([key, value]) => [key, String(value)]));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw error;
  }
}

/** The first function that runs makes the store. */
async function openStoreOnceMade(location: string) {
  const deadline = Date.now() + WAIT_MS_MAX;
  for (;;) {
    try {
      return await openStore(location, { create: false });
    } catch (error) {
      const isThere = !/there is no store/.test(String(error));
      if (isThere || Date.now() > deadline) throw error;
      await sleep(POLL_MS);
    }
  }
}

async function answersFresh(store: Awaited<ReturnType<typeof openStore>>, say: Say) {
  if (!(await store.collections()).includes("lines")) return false;
  const lines = await store.collection("lines");
  const { results } = await lines.query({ text: QUERY, k: 1, fresh: true });
  const [best] = results;
  if (best === undefined) return false;
  say(`a fresh search for "${QUERY}" answers: ${best.document} (${best.parent})`);
  return true;
}
