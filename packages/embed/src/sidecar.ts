import { type Metadata, metadataProblem, reasonOf, SiltError } from "@silt/core";

/** What a caller tells about a picture beside it: embedded context, and metadata of its records. */
export interface Sidecar {
  readonly context?: string;
  readonly metadata: Metadata;
}

/**
 * Parses `<image>.json`: a flat object whose `context`, if any, is a text. Throws `invalid` with
 * the name and the reason.
 */
export function parseSidecar(name: string, text: string): Sidecar {
  const refuse = (reason: string, cause?: unknown): never => {
    throw new SiltError("invalid", `Cannot read "${name}": ${reason}`, { cause });
  };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    return refuse(`it is not JSON (${reasonOf(error)})`, error);
  }
  const problem = metadataProblem(parsed, "refused");
  if (problem !== undefined) return refuse(problem.replace(`"metadata"`, "it"));
  const { context, ...metadata } = parsed as Metadata;
  if (context === undefined) return { metadata };
  if (typeof context !== "string") return refuse(`"context" is a ${typeof context}, expected text`);
  return { context, metadata };
}
