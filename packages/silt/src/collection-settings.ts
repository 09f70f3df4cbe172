import { type CollectionSettings, SiltError } from "@silt/core";
import { describeEmbedder } from "@silt/embed";

/** What a collection is made with; without `dimension` the embedder's own is taken. */
export type CollectionOptions = Omit<CollectionSettings, "dimension"> & {
  readonly dimension?: number;
};

/** Settings with full embedder id and dimension: the embedder's own when none is given. */
export async function settingsOf(
  name: string,
  options: CollectionOptions,
): Promise<CollectionSettings> {
  const { embedder, dimension } = options;
  if (embedder === undefined || embedder === null) {
    if (dimension !== undefined) return { ...options, dimension };
    throw new SiltError(
      "invalid",
      `Cannot create collection "${name}": neither dimension nor embedder is given, expected one of them`,
    );
  }
  const described = await describeEmbedder(embedder);
  if (dimension !== undefined && dimension !== described.dimension) {
    throw new SiltError(
      "invalid",
      `Cannot create collection "${name}" with ${dimension} dimensions: embedder "${described.id}" gives ${described.dimension}`,
    );
  }
  return { ...options, embedder: described.id, dimension: described.dimension };
}
