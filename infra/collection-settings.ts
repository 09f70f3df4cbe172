/** Collections and embedders of a stack, judged as its functions would judge them at each upload. */
import { type CollectionSettings, checkCollectionSettings } from "@silt/core";
import { type CollectionSpec, readEnv } from "../lambdas/env.ts";
import { KNOWN_EMBEDDERS, parseEmbedderId } from "../packages/embed/src/embedder-id.ts";
import { refuse } from "./refuse-setting.ts";
import type { SiltSettings } from "./silt-stack.ts";

type Kind = "text" | "image";

/** The collections that uploads fill, and what their embedders must take. */
const FILLED = new Map<string, Kind>([
  ["lines", "text"],
  ["words", "text"],
  ["images", "image"],
]);

export interface CollectionChoices
  extends Pick<SiltSettings, "collections" | "textEmbedder" | "imageEmbedder"> {
  readonly xenova?: boolean;
}

/** Throws on what no function could make, or could not use, and names it. */
export function checkCollections(choices: CollectionChoices): void {
  const { collections = [], textEmbedder, imageEmbedder, xenova = false } = choices;
  const SILT_COLLECTIONS = JSON.stringify(collections);
  readEnv({ SILT_STORE: "s3://bucket?table=table", SILT_COLLECTIONS });
  if (textEmbedder !== undefined) checkEmbedder("textEmbedder", textEmbedder, xenova, "text");
  if (imageEmbedder !== undefined) checkEmbedder("imageEmbedder", imageEmbedder, xenova, "image");
  const names = new Set<string>();
  for (const spec of collections) {
    if (names.has(spec.name)) refuse("collections", spec.name, "each name once");
    names.add(spec.name);
    checkCollection(spec, xenova);
  }
}

function checkCollection({ name, ...settings }: CollectionSpec, xenova: boolean): void {
  const setting = `collections.${name}`;
  const { dimension, embedder } = settings;
  const kind = FILLED.get(name);
  if (embedder === undefined) {
    if (dimension === undefined) refuse(setting, settings, "a dimension or an embedder");
    if (kind !== undefined) refuse(setting, settings, "an embedder: uploads fill it");
  }
  const own = embedder === undefined ? undefined : checkEmbedder(setting, embedder, xenova, kind);
  if (own !== undefined && dimension !== undefined && dimension !== own) {
    refuse(setting, dimension, `the ${own} dimensions of "${embedder}"`);
  }
  // What a model gives that is not listed is only known when it is loaded.
  const checked = { ...settings, dimension: dimension ?? own ?? 1 };
  checkCollectionSettings(name, checked as CollectionSettings);
}

/** The dimension of an embedder that is known without loading it. */
function checkEmbedder(
  setting: string,
  id: string,
  xenova: boolean,
  kind: Kind | undefined,
): number | undefined {
  const parsed = parseEmbedderId(id);
  if (parsed.kind === "folder") {
    refuse(setting, id, "a model by name: functions have no such folder");
  }
  if (parsed.kind === "hub" && !xenova) {
    refuse(setting, id, '"xenova" to be true, too, or another embedder');
  }
  const known = KNOWN_EMBEDDERS[parsed.id];
  if (known !== undefined && kind !== undefined && !known.modality.includes(kind)) {
    refuse(setting, id, `an embedder of ${kind === "text" ? "text" : "pictures"}`);
  }
  return known?.dimension;
}
