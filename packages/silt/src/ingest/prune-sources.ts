/** Sources that are gone: found by their guards, deleted only while that is plausible, each looked at again. */
import { type Guard, type Ports, SiltError } from "@silt/core";
import type { ImageFile, ImageRoot, ImageSource } from "./image-source.ts";
import { createRunStandings } from "./run-standing.ts";
import { IMAGE_FAMILY } from "./source-uri.ts";

/** What the guards say about one folder. */
export interface PruneCount {
  readonly known: number;
  readonly gone: number;
}

const GUARDS_PAGE = 500;
/** More than this share gone looks like an unmounted disk rather than like tidying. */
const GONE_SHARE_MAX = 0.5;

/** Sources under the folder that were read from here and are gone. */
export async function* goneSources(
  ports: Ports,
  sources: ImageSource,
  root: ImageRoot,
): AsyncGenerator<ImageFile> {
  for await (const { uri, root: found } of guardsUnder(ports, sources, root)) {
    if (await sources.isGone(uri)) yield { uri, root: found ?? root.path };
  }
}

/**
 * Throws `invalid` when a folder holds no picture at all, and, unless `anyway`, when more than half of
 * its known pictures are gone. To be asked again just before anything is deleted.
 */
export async function checkPrune(
  ports: Ports,
  sources: ImageSource,
  root: ImageRoot,
  { anyway }: { readonly anyway: boolean },
): Promise<void> {
  const { known, gone } = await countGone(ports, sources, root);
  if (gone === 0) return;
  const refuse = (state: string) =>
    new SiltError("invalid", `Cannot prune "${root.path}": ${state}`, { details: { known, gone } });
  if (await isWithoutImages(sources, root)) {
    throw refuse(
      `it holds no picture, though ${known} are known; is a disk missing? Nothing was deleted`,
    );
  }
  if (gone > known * GONE_SHARE_MAX && !anyway) {
    throw refuse(
      `${gone} of ${known} known pictures are gone, which is more than half; if that is right, "silt ingest ${root.path} --prune --yes" deletes their records`,
    );
  }
}

async function countGone(ports: Ports, sources: ImageSource, root: ImageRoot): Promise<PruneCount> {
  let known = 0;
  let gone = 0;
  for await (const { uri } of guardsUnder(ports, sources, root)) {
    known += 1;
    if (await sources.isGone(uri)) gone += 1;
  }
  return { known, gone };
}

async function isWithoutImages(sources: ImageSource, root: ImageRoot): Promise<boolean> {
  for await (const _ of sources.walk([root], { onDenied: () => {} })) return false;
  return true;
}

/** Guards with something to delete, of pictures under the folder that were read from here. */
async function* guardsUnder(
  ports: Ports,
  sources: ImageSource,
  root: ImageRoot,
): AsyncGenerator<Guard> {
  const prefix = `${root.uri}/`;
  const standings = createRunStandings(ports);
  let after = prefix;
  for (;;) {
    const page = await ports.log.listGuards(IMAGE_FAMILY, { after, limit: GUARDS_PAGE });
    for (const guard of page) {
      if (!guard.uri.startsWith(prefix)) return;
      if (!sources.isOwn(guard)) continue;
      const isKnown = guard.sourceDigest !== null || guard.failure !== null;
      // A deletion that was rolled back, or excluded, has brought the records back.
      if (isKnown || !(await standings.allStand(guard))) yield guard;
    }
    const last = page.at(-1);
    if (last === undefined || page.length < GUARDS_PAGE) return;
    after = last.uri;
  }
}
