/** Fuzz target: the small JSON documents of a store, parsed as every reader parses them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  canonicalJson,
  collectionKey,
  isSiltError,
  parseCollection,
  parseManifest,
  parsePointer,
  parsePolicy,
  parseRun,
  pointerKey,
  policyKey,
  readPointer,
  seal,
  shardPrefix,
} from "@silt/core";
import type { SeededRandom } from "@silt/testkit";
import { type FuzzArena, type FuzzTarget, insist } from "./fuzz-arena.ts";
import { mutateJson, mutateText } from "./mutate.ts";

interface Document {
  readonly text: string;
  readonly isSealed: boolean;
  readonly parse: (bytes: Uint8Array, what: string) => object;
}

const MESSAGE_CHARS_MAX = 4_000;

async function documentsOf({ world, owner }: FuzzArena): Promise<readonly Document[]> {
  const { ports } = world.store.context;
  const { pointer } = await readPointer(ports.objects, owner);
  const read = (key: string) => readFileSync(join(world.sandbox.store, key), "utf8");
  const [run] = await ports.log.readRuns(owner, { after: 0, limit: 1 });
  return [
    { text: read(collectionKey(owner.collection)), isSealed: true, parse: parseCollection },
    { text: read(policyKey(owner.collection)), isSealed: true, parse: parsePolicy },
    { text: read(pointerKey(owner)), isSealed: true, parse: parsePointer },
    { text: read(pointer.manifest.key), isSealed: false, parse: parseManifest },
    { text: canonicalJson(run), isSealed: false, parse: parseRun },
  ];
}

export const fuzzDocument: FuzzTarget = async (random, arena) => {
  const { text, isSealed, parse } = random.pick(await documentsOf(arena));
  let value: unknown = JSON.parse(text);
  if (random.chance(0.3)) value = misplaceKeys(random, value);
  for (let left = random.int(4); left > 0; left--) value = mutateJson(random, value);
  let forged = JSON.stringify(value) ?? "null";
  try {
    forged = random.chance(0.8) && isSealed ? resealed(value) : canonicalJson(value);
  } catch (error) {
    // Nobody can seal what is nested too deep; it is parsed as it is.
    insist(isSiltError(error, "invalid"), String(error));
  }
  if (random.chance(0.2)) forged = mutateText(random, forged);
  let parsed: object;
  try {
    parsed = parse(Buffer.from(forged), 'document "x"');
  } catch (error) {
    insist(isSiltError(error, "corrupt") || isSiltError(error, "invalid"), String(error));
    insist(error.message.startsWith('Cannot read document "x": '), error.message);
    insist(error.message.length < MESSAGE_CHARS_MAX, `a message of ${error.message.length}`);
    return error.kind;
  }
  if (isSealed)
    insist(canonicalJson(JSON.parse(forged)) === forged, "bytes that are not canonical");
  checkTaken(parsed, JSON.parse(forged));
  return "taken";
};

/** Leads each object's key out of its shard, by prefix, by dots, or by all. */
function misplaceKeys(random: SeededRandom, value: unknown): unknown {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((member) => misplaceKeys(random, member));
  const members = Object.entries(value).map(([name, member]) => {
    if (name !== "key" || typeof member !== "string") return [name, misplaceKeys(random, member)];
    const dots = member.replace(/[^/]+$/, `${"../".repeat(1 + random.int(8))}secret.txt`);
    const other = member.replace("collections/notes", "collections/words");
    return [name, random.pick([dots, other, `/${member}`, `${member}/.`, "../x", member])];
  });
  return Object.fromEntries(members);
}

function resealed(value: unknown): string {
  if (value === null || typeof value !== "object" || Array.isArray(value))
    return canonicalJson(value);
  const entries = Object.entries(value).filter(([key]) => key !== "selfSha256");
  return canonicalJson(seal(Object.fromEntries(entries)));
}

/** What was taken is what the text says, and every key in it lies in its shard. */
function checkTaken(parsed: object, raw: unknown): void {
  insist(isPartOf(parsed, raw), "it was read otherwise than it is written");
  const { collection, storeId, shard } = parsed as Record<string, string>;
  const isSharded = collection !== undefined && storeId !== undefined && shard !== undefined;
  if (!isSharded) return;
  const prefix = shardPrefix({ collection, storeId, shard });
  for (const key of keysIn(parsed)) {
    insist(key.startsWith(prefix) && !key.split("/").includes(".."), `the key "${key}" was taken`);
  }
}

/** Every member of `part` is in `whole`, with the same value. */
function isPartOf(part: unknown, whole: unknown): boolean {
  if (part === null || typeof part !== "object") return Object.is(part, whole);
  if (whole === null || typeof whole !== "object") return false;
  return Object.entries(part).every(
    ([key, value]) =>
      Object.hasOwn(whole, key) && isPartOf(value, (whole as Record<string, unknown>)[key]),
  );
}

function keysIn(value: unknown): readonly string[] {
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([name, member]) =>
    name === "key" && typeof member === "string" ? [member] : keysIn(member),
  );
}
