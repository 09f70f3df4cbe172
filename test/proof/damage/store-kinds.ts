/** The kinds of objects and files of a store. One entry a kind. */
import {
  collectionKey,
  deltaKey,
  manifestKey,
  planKey,
  pointerKey,
  policyKey,
  uuidV7,
} from "@silt/core";
import type { DamagedKind, RunCounts } from "./damage-case.ts";
import type { DamageWorld } from "./damage-world.ts";
import { type DamagedFile, type DamagedPlace, FILES, fileCases } from "./file-cases.ts";
import type { FileForm } from "./file-structures.ts";
import type { RestorePoint } from "./restore-point.ts";

interface ObjectKind {
  readonly name: string;
  readonly form: FileForm;
  readonly key: string;
  readonly kinds: RegExp;
  readonly others: readonly string[];
  /** Keys under which a copy would be another thing of its kind. */
  readonly copies?: readonly string[];
  /** What is named when there is a copy; default: its key. */
  readonly copyIs?: string | RegExp;
  readonly shared?: true;
  readonly object?: RegExp;
  readonly mayExclude?: readonly number[];
  /** Older states are whole, earlier logs: so many runs they know. */
  readonly olderRuns?: readonly RunCounts[];
}

/** Every kind of object and file of the store. */
export function storeKinds(
  world: DamageWorld,
  point: Pick<RestorePoint, "paths" | "bytesOf">,
  place: DamagedPlace = FILES,
): readonly DamagedKind[] {
  return objectKinds(world, point).map((kind) => {
    const { name, form, key, kinds, shared, object = key } = kind;
    const file: DamagedFile = {
      path: world.pathOf(key),
      place,
      form,
      others: kind.others.map((other) => [other, point.bytesOf(other)]),
      older: world.older.get(key) ?? [],
      copies: (kind.copies ?? []).map((copy) => [world.pathOf(copy), kind.copyIs ?? copy]),
    };
    const { mayExclude, olderRuns = [] } = kind;
    return {
      name,
      detector: "verify",
      object,
      kinds,
      ...(shared && { shared }),
      cases(random, places) {
        let older = 0;
        return fileCases(file, random, places).map((one) => {
          const asOf = one.damage === "older version" ? olderRuns[older++] : undefined;
          const more = asOf === undefined ? {} : { asOf, object: /\/deltas\/|^log: / };
          return { ...one, ...more, ...(mayExclude && { mayExclude }) };
        });
      },
    };
  });
}

function objectKinds(
  world: DamageWorld,
  point: Pick<RestorePoint, "paths">,
): readonly ObjectKind[] {
  const { lines, words } = world;
  const find = (pattern: RegExp, of = lines) => {
    const prefix = `collections/${of.shard.collection}/`;
    const found = point.paths().find((key) => key.startsWith(prefix) && pattern.test(key));
    if (found === undefined) throw new Error(`no key of ${prefix} matches ${pattern}`);
    return found;
  };
  const bundle = (sequence: number) => lines.runs[sequence - 1]?.delta.key as string;
  const nobody = uuidV7(0, Buffer.from("00112233445566778899aabbccddeeff", "hex"));
  const pending = lines.contents.length;
  const copyOfBundle = [deltaKey(lines.shard, nobody)];
  return [
    {
      name: "collection.json",
      form: "json",
      key: collectionKey("lines"),
      kinds: /^(collection-(damaged|missing|mismatch)|format-unknown)$/,
      others: [collectionKey("words")],
      copies: [collectionKey("copy")],
    },
    {
      name: "policy.json",
      form: "json",
      key: policyKey("lines"),
      kinds: /^(policy-(damaged|missing)|format-unknown|leftover)$/,
      others: [policyKey("words"), collectionKey("words")],
      copies: [policyKey("copy")],
      copyIs: /^collections\/copy\//,
    },
    {
      name: "latest-pointer.json",
      form: "json",
      key: pointerKey(lines.shard),
      kinds: /^(pointer-(damaged|missing|outdated|mismatch)|format-unknown|leftover)$/,
      others: [pointerKey(words.shard)],
      copies: [pointerKey({ ...lines.shard, shard: "0-of-2" })],
      copyIs: /0-of-2/,
    },
    {
      name: "manifest.json of the current version",
      form: "json",
      key: find(/\/4-\w+\/manifest\.json$/),
      kinds: /^(manifest-(damaged|missing)|format-unknown|leftover)$/,
      others: [find(/\/3-\w+\/manifest\.json$/), find(/\/1-\w+\/manifest\.json$/, words)],
      copies: [manifestKey(lines.shard, 4, "0011223344556677")],
    },
    {
      name: "manifest.json of an older version",
      form: "json",
      key: find(/\/2-\w+\/manifest\.json$/),
      kinds: /^(old-manifest-(damaged|missing)|format-unknown|leftover)$/,
      others: [find(/\/1-\w+\/manifest\.json$/), find(/\/1-\w+\/manifest\.json$/, words)],
      copies: [manifestKey(lines.shard, 2, "0011223344556677")],
    },
    {
      name: "delta bundle of a pending run",
      form: "tar",
      key: bundle(pending),
      kinds: /^(bundle-(damaged|missing)|format-unknown|leftover)$/,
      others: [bundle(1), bundle(pending - 1), words.runs[1]?.delta.key as string],
      copies: copyOfBundle,
      mayExclude: [pending],
    },
    {
      name: "delta bundle of an applied run",
      form: "tar",
      key: bundle(1),
      kinds: /^(applied-bundle-(damaged|missing)|format-unknown|leftover)$/,
      others: [bundle(2), words.runs[0]?.delta.key as string],
      copies: copyOfBundle,
    },
    {
      name: "segment, oldest layer",
      form: "sqlite",
      key: find(/\/1-2\.sqlite$/),
      kinds: /^(segment-(damaged|missing)|leftover)$/,
      others: [find(/\/1-1\.sqlite$/), find(/\/3-4\.sqlite$/), find(/\/1-1\.sqlite$/, words)],
      copies: [find(/\/1-2\.sqlite$/).replace("1-2.sqlite", "2-2.sqlite")],
    },
    {
      name: "segment, newest layer",
      form: "sqlite",
      key: find(/\/3-4\.sqlite$/),
      kinds: /^(segment-(damaged|missing)|leftover)$/,
      others: [find(/\/1-2\.sqlite$/), find(/\/1-1\.sqlite$/, words)],
      copies: [find(/\/3-4\.sqlite$/).replace("3-4.sqlite", "4-4.sqlite")],
    },
    {
      name: "segment of an older version",
      form: "sqlite",
      key: find(/\/1-1\.sqlite$/),
      kinds: /^(old-segment-(damaged|missing)|history-gone|leftover)$/,
      others: [find(/\/1-2\.sqlite$/), find(/\/1-1\.sqlite$/, words)],
      copies: [find(/\/1-1\.sqlite$/).replace("1-1.sqlite", "2-2.sqlite")],
    },
    {
      name: "plan of the collector",
      form: "json",
      key: find(/\/plans\//),
      kinds: /^(plan-damaged|format-unknown)$/,
      others: [find(/\/plans\//, words)],
      copies: [planKey(lines.shard, nobody)],
    },
    {
      name: "silt-store.json",
      form: "json",
      key: "silt-store.json",
      kinds: /^store-marker/,
      others: [policyKey("lines")],
      shared: true,
    },
    ...(point.paths().includes("log.sqlite") ? [logFile(world, find(/\/1-1\.sqlite$/))] : []),
  ];
}

/** The log of a folder store, as a file. */
const logFile = (world: DamageWorld, other: string): ObjectKind => ({
  name: "log.sqlite",
  form: "sqlite",
  key: "log.sqlite",
  object: /^log: /,
  kinds: /./,
  others: [other],
  shared: true,
  olderRuns: world.olderLogs,
});
