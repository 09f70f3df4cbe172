/** The collections that pictures become records of, and the pipeline that makes them. */
import {
  type CollectionIdentity,
  ensureCollection,
  type Guard,
  openCollection,
  type Ports,
  SiltError,
} from "@silt/core";
import {
  describeEmbedder,
  type EmbedderDescription,
  type PipelineKind,
  pipelineId,
} from "@silt/embed";
import type { IngestOptions } from "./ingest-report.ts";
import type { RunStandings } from "./run-standing.ts";

export const IMAGE_COLLECTIONS = ["lines", "words", "images"] as const;
export type ImageCollection = (typeof IMAGE_COLLECTIONS)[number];

export interface IngestTargets {
  readonly pipeline: PipelineKind;
  readonly pipelineId: string;
  readonly textEmbedder: EmbedderDescription;
  readonly imageEmbedder: EmbedderDescription;
  /** Those of the pipeline, and others that exist: an earlier pipeline may have filled them. */
  readonly collections: ReadonlyMap<ImageCollection, CollectionIdentity>;
}

const DEFAULT_TEXT_EMBEDDER = "use-lite";
const DEFAULT_IMAGE_EMBEDDER = "image-descriptor";

/** The collections that a pipeline fills. */
export function collectionsOf(pipeline: PipelineKind): readonly ImageCollection[] {
  if (pipeline === "text") return ["lines", "words"];
  return pipeline === "image" ? ["images"] : IMAGE_COLLECTIONS;
}

/**
 * Opens the collections of the pipeline, and with `create` makes those that are absent. Throws
 * `invalid` when one has another embedder than asked for.
 */
export async function openTargets(
  ports: Ports,
  options: IngestOptions,
  { create }: { readonly create: boolean },
): Promise<IngestTargets> {
  const { pipeline = "auto" } = options;
  const collections = await openExisting(ports);
  const wanted = collectionsOf(pipeline);
  const embedderOf = async (names: readonly ImageCollection[], asked: string | undefined) => {
    const existing = names.flatMap((name) =>
      wanted.includes(name) ? (collections.get(name) ?? []) : [],
    );
    return chooseEmbedder(existing, asked, names.includes("images") ? "image" : "text");
  };
  const textEmbedder = await embedderOf(["lines", "words"], options.textEmbedder);
  const imageEmbedder = await embedderOf(["images"], options.imageEmbedder);
  for (const name of create ? wanted : []) {
    const { id, dimension } = name === "images" ? imageEmbedder : textEmbedder;
    const { identity } = await ensureCollection(ports, name, { dimension, embedder: id });
    collections.set(name, identity);
  }
  const ids = { textEmbedder: textEmbedder.id, imageEmbedder: imageEmbedder.id };
  return {
    pipeline,
    pipelineId: pipelineId({ pipeline, ...ids }),
    textEmbedder,
    imageEmbedder,
    collections,
  };
}

/**
 * The collections as they are now, when the guard's records lie in one that was made since the targets
 * were opened: what lies there would be forgotten with the guard. Undefined when the targets have them
 * all. Throws `fenced` when one that the pipeline fills was made anew: no retry with these targets helps.
 */
export async function collectionsSince(
  ports: Ports,
  targets: IngestTargets,
  { guard, standings }: { readonly guard: Guard | undefined; readonly standings: RunStandings },
): Promise<IngestTargets["collections"] | undefined> {
  const known = new Set(targets.collections.values().map(({ storeId }) => storeId));
  for (const run of guard?.runs ?? []) {
    if (known.has(run.storeId) || (await standings.of(run)).standing === "gone") continue;
    const collections = await openExisting(ports);
    for (const name of collectionsOf(targets.pipeline)) {
      const before = targets.collections.get(name)?.storeId;
      if (before !== undefined && before !== collections.get(name)?.storeId) throw madeAnew(name);
    }
    return collections;
  }
  return undefined;
}

function madeAnew(name: string): SiltError {
  return new SiltError(
    "fenced",
    `Cannot ingest into collection "${name}": it was deleted or made anew since this ingest began; start it again`,
  );
}

async function openExisting(ports: Ports): Promise<Map<ImageCollection, CollectionIdentity>> {
  const collections = new Map<ImageCollection, CollectionIdentity>();
  for (const name of IMAGE_COLLECTIONS) {
    const opened = await openCollection(ports, name);
    if (opened !== undefined) collections.set(name, opened.identity);
  }
  return collections;
}

/** The embedder of the collections that exist, else the one asked for, else the default. */
async function chooseEmbedder(
  existing: readonly CollectionIdentity[],
  asked: string | undefined,
  modality: "text" | "image",
): Promise<EmbedderDescription> {
  const fallback = modality === "text" ? DEFAULT_TEXT_EMBEDDER : DEFAULT_IMAGE_EMBEDDER;
  const kept = existing[0] === undefined ? undefined : embedderIdOf(existing[0]);
  const chosen = await describeEmbedder(asked ?? kept ?? fallback);
  for (const identity of existing) checkEmbedder(identity, chosen);
  if (chosen.modality.includes(modality)) return chosen;
  throw new SiltError(
    "invalid",
    `Cannot ingest with embedder "${chosen.id}": it embeds ${chosen.modality} only, expected one for ${modality}, such as "${fallback}"`,
  );
}

function embedderIdOf({ collection, vectors }: CollectionIdentity): string {
  const embedder = vectors[0]?.embedder ?? null;
  if (embedder !== null) return embedder;
  throw new SiltError(
    "invalid",
    `Cannot ingest into collection "${collection}": it was made without an embedder, expected one that pictures can be embedded with`,
  );
}

function checkEmbedder(identity: CollectionIdentity, chosen: EmbedderDescription): void {
  const { collection } = identity;
  const refuse = (state: string) =>
    new SiltError(
      "invalid",
      `Cannot ingest into collection "${collection}" with embedder "${chosen.id}": ${state}`,
    );
  const own = embedderIdOf(identity);
  if (own !== chosen.id) throw refuse(`it has embedder "${own}", which never changes`);
  const dimension = identity.vectors[0]?.dimension;
  if (dimension !== chosen.dimension) {
    throw refuse(`it has ${dimension} dimensions, the embedder gives ${chosen.dimension}`);
  }
}
