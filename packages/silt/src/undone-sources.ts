/** The sources that a rollback undid, and how to ingest them again: the guards know. */
import { dirname } from "node:path";
import type { Guard, Ports, Run } from "@silt/core";
import { isS3Uri } from "./ingest/s3-source.ts";
import { IMAGE_FAMILY, isOfThisHost, pathOfUri } from "./ingest/source-uri.ts";

export interface UndoneSources {
  /** URIs, ascending. */
  readonly sources: readonly string[];
  /** What to give `silt ingest`, each a call of its own, so that they come back; of this machine's files and of S3. */
  readonly ingest: readonly (readonly string[])[];
  /** Sources that were read on other machines. */
  readonly elsewhere: number;
}

export const NO_SOURCES: UndoneSources = { sources: [], ingest: [], elsewhere: 0 };

const GUARDS_PAGE = 500;
const SOURCES_MAX = 100_000;
/** With more files than this their folders are named: what did not change there is skipped. */
const FILES_MAX = 8;
const FOLDERS_MAX = 8;

/** Looks through all guards for those whose newest records came by these runs. */
export async function findUndoneSources(
  { log }: Pick<Ports, "log">,
  undone: readonly Pick<Run, "runId">[],
  signal?: AbortSignal,
): Promise<UndoneSources> {
  const gone = new Set(undone.map(({ runId }) => runId));
  const found: Guard[] = [];
  for (let after: string | undefined; gone.size > 0 && found.length < SOURCES_MAX; ) {
    signal?.throwIfAborted();
    const asked = { limit: GUARDS_PAGE, ...(after === undefined ? {} : { after }) };
    const page = await log.listGuards(IMAGE_FAMILY, asked);
    found.push(...page.filter(({ runs }) => runs.some(({ runId }) => gone.has(runId))));
    if (page.length < GUARDS_PAGE) break;
    after = page.at(-1)?.uri;
  }
  const here = found.filter(({ uri, root }) => isS3Uri(uri) || isOfThisHost(root));
  return {
    sources: found.map(({ uri }) => uri),
    ingest: planIngests(here),
    elsewhere: found.length - here.length,
  };
}

/** Pure: a call for each pipeline, and one for deletions that were undone. */
export function planIngests(guards: readonly Guard[]): readonly (readonly string[])[] {
  const byOptions = Map.groupBy(guards, (guard) => optionsOf(guard).join(" "));
  return [...byOptions.values()].map((group) => {
    const [first] = group as [Guard];
    const paths = group.flatMap(({ uri }) => (isS3Uri(uri) ? uri : (pathOfUri(uri) ?? [])));
    // A file that is gone can't be named; --prune looks for those in a folder.
    const mustExist = first.sourceDigest === null;
    const isFew = paths.length <= FILES_MAX && !mustExist;
    return [...(isFew ? paths : foldersOf(paths)), ...optionsOf(first)];
  });
}

function optionsOf({ pipelineId, sourceDigest }: Guard): readonly string[] {
  const pipeline = /;pipeline=(text|image);/.exec(`${pipelineId};`)?.[1];
  return [
    ...(pipeline === undefined ? [] : ["--pipeline", pipeline]),
    ...(sourceDigest === null ? ["--prune"] : []),
  ];
}

/** Few folders that hold all of the files, none inside of another. */
function foldersOf(paths: readonly string[]): readonly string[] {
  let folders = topmost(paths.map((path) => dirname(path)));
  while (folders.length > FOLDERS_MAX) folders = topmost(folders.map((path) => dirname(path)));
  return folders;
}

function topmost(folders: readonly string[]): readonly string[] {
  const kept: string[] = [];
  for (const folder of [...new Set(folders)].sort()) {
    const isInside = kept.some((outer) => folder.startsWith(outer === "/" ? "/" : `${outer}/`));
    if (!isInside) kept.push(folder);
  }
  return kept;
}
