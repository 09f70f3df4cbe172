import { isSiltError, reasonOf, SiltError } from "@silt/core";
import { quietly } from "./quietly.ts";

/** Runs a model silently; what it throws becomes `unavailable` with the embedder's name. */
export async function runModel<T>(embedder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await quietly(work);
  } catch (error) {
    if (isSiltError(error)) throw error;
    throw new SiltError(
      "unavailable",
      `Cannot embed with "${embedder}": ${reasonOf(error)}, expected a vector`,
      { cause: error },
    );
  }
}
