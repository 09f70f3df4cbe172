import { SiltError } from "@silt/core";
import { folderSource } from "./folder-source.ts";
import type { ImageFile, ImageRoot, ImageSource, WalkOptions } from "./image-source.ts";
import { createS3Source, isS3Uri, type SourceBucket } from "./s3-source.ts";

/** All places that pictures can come from, each by its URIs. */
export function createImageSources(s3: ImageSource): ImageSource {
  const of = (place: string) => (isS3Uri(place) ? s3 : folderSource);
  return {
    openRoot: (place) => of(place).openRoot(place),
    walk: (roots, options) => walkEach(roots, of, options),
    read: async (uri, options) => of(uri).read(uri, options),
    stampOf: async (uri) => of(uri).stampOf(uri),
    isGone: async (uri) => of(uri).isGone(uri),
    hasRoot: async (file) => of(file.uri).hasRoot(file),
    isOwn: (file) => of(file.uri).isOwn(file),
  };
}

/** {@link createImageSources}, with S3 as every AWS tool finds it; nothing of AWS is loaded for files. */
export function openImageSources(): ImageSource & AsyncDisposable {
  const resources = new AsyncDisposableStack();
  let opening: Promise<(name: string) => SourceBucket> | undefined;
  const connect = async () => {
    const { createAwsClients, createS3SourceBucket } = await import("@silt/aws");
    const { s3 } = resources.use(createAwsClients());
    return (name: string) => createS3SourceBucket(s3, name);
  };
  const s3 = createS3Source(async (name) => {
    opening ??= connect();
    return (await opening)(name);
  });
  return {
    ...createImageSources(s3),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** Checks all places that a caller named, before anything is done. Throws `invalid` for none. */
export async function openRoots(
  source: ImageSource,
  places: readonly string[],
): Promise<readonly ImageRoot[]> {
  if (places.length > 0) return Promise.all(places.map((place) => source.openRoot(place)));
  throw new SiltError("invalid", "Cannot ingest: no path is given, expected pictures or folders");
}

/** One source's roots together: it knows which of them lie inside of one another. */
async function* walkEach(
  roots: readonly ImageRoot[],
  of: (place: string) => ImageSource,
  options: WalkOptions | undefined,
): AsyncGenerator<ImageFile, void> {
  for (const [source, own] of Map.groupBy(roots, ({ uri }) => of(uri))) {
    yield* source.walk(own, options);
  }
}
