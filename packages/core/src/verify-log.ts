/** The log's rows against the digests that they were written with, where its adapter keeps such. */
import type { LogDamage } from "./ports.ts";
import type { VerifyContext } from "./verify-context.ts";
import { type ProblemKind, unlessLogDamaged } from "./verify-report.ts";

const WHOLE_LOG = "log: all of it";

/**
 * Names each damaged row that nothing else has named. With `collections`, only rows of these, and what
 * belongs to all.
 */
export async function verifyLog(
  { ports, findings }: VerifyContext,
  collections: readonly string[] | undefined,
): Promise<void> {
  const damages = await unlessLogDamaged(
    async () => (await ports.log.audit?.()) ?? [],
    ({ message }) => findings.problem(WHOLE_LOG, "log-unreadable", message),
  );
  const named = new Set(findings.report().problems.map(({ object }) => object));
  for (const damage of damages ?? []) {
    const { what, collection, reason } = damage;
    const isAsked = collection === undefined || (collections?.includes(collection) ?? true);
    const object = `log: ${what}`;
    if (isAsked && !named.has(object)) findings.problem(object, kindOf(damage), reason);
  }
}

function kindOf({ what }: LogDamage): ProblemKind {
  if (what.startsWith("run id ")) return "run-id-mismatch";
  if (what.startsWith("run ")) return "run-damaged";
  return what.startsWith("guard ") ? "guard-damaged" : "log-unreadable";
}
