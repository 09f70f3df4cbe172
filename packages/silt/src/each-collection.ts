import { isSiltError, type OpenCollection, reasonOf, type SiltErrorKind } from "@silt/core";

/** Why the work on one shard, or on a whole collection, failed while that on others went on. */
export interface Failure {
  readonly kind: SiltErrorKind;
  readonly message: string;
}

/** A failure to tell beside what others did. Throws the error again when the caller wanted to stop. */
export function failureOf(error: unknown, signal: AbortSignal | undefined): Failure {
  if (signal?.aborted) throw error;
  return { kind: isSiltError(error) ? error.kind : "internal", message: reasonOf(error) };
}

/** The reports of all collections, one after the other; one that is damaged does not keep the others from it. */
export async function eachCollection<Report>(
  names: readonly string[],
  open: (name: string) => Promise<OpenCollection>,
  work: (opened: OpenCollection) => Promise<readonly Report[]>,
  failed: (name: string, failure: Failure) => Report,
): Promise<readonly Report[]> {
  const reports: Report[] = [];
  for (const name of names) {
    let opened: OpenCollection;
    try {
      opened = await open(name);
    } catch (error) {
      if (!isSiltError(error, "corrupt")) throw error;
      reports.push(failed(name, { kind: error.kind, message: error.message }));
      continue;
    }
    reports.push(...(await work(opened)));
  }
  return reports;
}
