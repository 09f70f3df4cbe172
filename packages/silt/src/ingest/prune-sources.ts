/** Sources that are gone: found by their guards, deleted only while that is plausible, each looked at again. */
import { pathToFileURL } from "node:url";
import { type Guard, type Ports, SiltError } from "@silt/core";
import { isGone } from "./read-source.ts";
import { createRunStandings } from "./run-standing.ts";
import { IMAGE_FAMILY, isOfThisHost, pathOfUri } from "./source-uri.ts";
import { type ImageFile, type IngestRoot, walkImages } from "./walk-images.ts";

/** What the guards say about one folder. */
export interface PruneCount {
  readonly known: number;
  readonly gone: number;
}

const GUARDS_PAGE = 500;
/** More than this share gone looks like an unmounted disk rather than like tidying. */
const GONE_SHARE_MAX = 0.5;

/** Sources under the folder that were read on this machine and whose files are gone. */
export async function* goneSources(ports: Ports, root: IngestRoot): AsyncGenerator<ImageFile> {
  for await (const guard of guardsUnder(ports, root)) {
    const file = fileOf(guard);
    if (file !== undefined && (await isGone(file.path))) yield file;
  }
}

/**
 * Throws `invalid` when a folder holds no picture at all, and, unless `anyway`, when more than half of
 * its known pictures are gone. To be asked again just before anything is deleted.
 */
export async function checkPrune(
  ports: Ports,
  root: IngestRoot,
  { anyway }: { readonly anyway: boolean },
): Promise<void> {
  const { known, gone } = await countGone(ports, root);
  if (gone === 0) return;
  const refuse = (state: string) =>
    new SiltError("invalid", `Cannot prune "${root.path}": ${state}`, { details: { known, gone } });
  if (await isWithoutImages(root)) {
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

async function countGone(ports: Ports, root: IngestRoot): Promise<PruneCount> {
  let known = 0;
  let gone = 0;
  for await (const guard of guardsUnder(ports, root)) {
    const file = fileOf(guard);
    if (file === undefined) continue;
    known += 1;
    if (await isGone(file.path)) gone += 1;
  }
  return { known, gone };
}

async function isWithoutImages(root: IngestRoot): Promise<boolean> {
  for await (const _ of walkImages([root], { onDenied: () => {} })) return false;
  return true;
}

/** Guards with something to delete, of files under the folder that this machine read. */
async function* guardsUnder(ports: Ports, root: IngestRoot): AsyncGenerator<Guard> {
  const prefix = `${pathToFileURL(root.path).href.replace(/\/$/, "")}/`;
  const standings = createRunStandings(ports);
  let after = prefix;
  for (;;) {
    const page = await ports.log.listGuards(IMAGE_FAMILY, { after, limit: GUARDS_PAGE });
    for (const guard of page) {
      if (!guard.uri.startsWith(prefix)) return;
      if (!isOfThisHost(guard.root)) continue;
      const isKnown = guard.sourceDigest !== null || guard.failure !== null;
      // A deletion that was rolled back, or excluded, has brought the records back.
      if (isKnown || !(await standings.allStand(guard))) yield guard;
    }
    const last = page.at(-1);
    if (last === undefined || page.length < GUARDS_PAGE) return;
    after = last.uri;
  }
}

function fileOf({ uri, root }: Guard): ImageFile | undefined {
  const path = pathOfUri(uri);
  return path === undefined || root === null ? undefined : { path, uri, root };
}
