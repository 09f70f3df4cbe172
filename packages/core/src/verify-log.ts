/** The log's rows against the digests that they were written with, where its adapter keeps such. */
import type { LogDamage } from "./ports.ts";
import type { VerifyContext } from "./verify-context.ts";
import { type ProblemKind, unlessLogDamaged } from "./verify-report.ts";

const WHOLE_LOG = "log: all of it";

/**
 * Names each damaged row that nothing else has named: of all collections, for they share the log, and a
 * damaged row may not tell any more whose it was.
 */
export async function verifyLog({ ports, findings }: VerifyContext): Promise<void> {
  const damages = await unlessLogDamaged(
    async () => (await ports.log.audit?.()) ?? [],
    ({ message }) => findings.problem(WHOLE_LOG, "log-unreadable", message),
  );
  const named = new Set(findings.report().problems.map(({ object }) => object));
  for (const damage of damages ?? []) {
    const object = `log: ${damage.what}`;
    if (!named.has(object)) findings.problem(object, kindOf(damage), damage.reason);
  }
}

function kindOf({ what }: LogDamage): ProblemKind {
  if (what.startsWith("run id ")) return "run-id-mismatch";
  if (what.startsWith("run ")) return "run-damaged";
  return what.startsWith("guard ") ? "guard-damaged" : "log-unreadable";
}
