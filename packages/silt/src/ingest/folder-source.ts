import { SiltError } from "@silt/core";
import type { ImageSource } from "./image-source.ts";
import { hasEntries, isGone, readSource, stampOf } from "./read-source.ts";
import { folderOfRoot, isOfThisHost, pathOfUri } from "./source-uri.ts";
import { openRoot, walkImages } from "./walk-images.ts";

/** Files and folders of this machine, by `file://`. A file `<image>.json` beside an image tells about it. */
export const folderSource: ImageSource = {
  openRoot,
  walk: walkImages,
  read: async (uri) => readSource(pathOf(uri)),
  stampOf: async (uri) => stampOf(pathOf(uri)),
  isGone: async (uri) => isGone(pathOf(uri)),
  async hasRoot({ root }) {
    const folder = folderOfRoot(root);
    return folder !== undefined && (await hasEntries(folder));
  },
  isOwn: ({ uri, root }) => pathOfUri(uri) !== undefined && isOfThisHost(root),
};

function pathOf(uri: string): string {
  const path = pathOfUri(uri);
  if (path !== undefined) return path;
  throw new SiltError("invalid", `Cannot read "${uri}": it names no file of this machine`);
}
