/**
 * Hints become flips. A hint carries no data: what is to be done is asked of the log.
 *  1. read the messages; hints at the same shard are one
 *  2. each shard is compacted until nothing is pending, or the time is up (`compactHinted`)
 *  3. messages of shards that failed come again, and at last to the dead letters; a compaction that does
 *     not fit would not fit the next time either: it rings an alarm instead, and the sweep hints again
 */
import { parseHint } from "@silt/aws";
import { type Hint, type Ports, reasonOf, shardPartition } from "@silt/core";
import type { SQSBatchResponse, SQSEvent } from "aws-lambda";
import { type CompactedShard, compactHinted } from "./compact-hinted.ts";
import { deadlineOf } from "./deadline.ts";
import type { Env } from "./env.ts";
import { openEnvPorts } from "./open-env-ports.ts";
import { type Handle, lambda, once, type Wiring } from "./wiring.ts";

const MIB = 1024 * 1024;

interface HintedShard {
  readonly hint: Hint;
  readonly messageIds: string[];
}

export interface CompactWiring extends Pick<Wiring, "logger" | "metrics"> {
  readonly env: Pick<Env, "marginMs" | "diskBytes">;
  readonly ports: () => Promise<Ports>;
}

export function createCompactHandler(wiring: CompactWiring): Handle<SQSEvent, SQSBatchResponse> {
  const { env, logger } = wiring;
  return async ({ Records }, context) => {
    using deadline = deadlineOf(context, env.marginMs);
    const shards = new Map<string, HintedShard>();
    const failed: string[] = [];
    for (const { messageId, body } of Records) {
      const hint = parseHint(body);
      if (hint === undefined) {
        logger.log("error", "message is no hint", { messageId });
        failed.push(messageId);
        continue;
      }
      const key = shardPartition(hint);
      const known = shards.get(key);
      if (known === undefined) shards.set(key, { hint, messageIds: [messageId] });
      else known.messageIds.push(messageId);
    }
    if (shards.size > 0) {
      const ports = await wiring.ports();
      const limits = {
        holder: `compact/${context.awsRequestId}`,
        deadline,
        memoryBytes: Number(context.memoryLimitInMB) * MIB || undefined,
        diskBytes: env.diskBytes,
      };
      for (const { hint, messageIds } of shards.values()) {
        const compacted = await compactHinted(ports, hint, limits);
        tell(wiring, hint, compacted);
        if (!(await isDone(wiring, ports, hint, compacted))) failed.push(...messageIds);
      }
    }
    return { batchItemFailures: failed.map((itemIdentifier) => ({ itemIdentifier })) };
  };
}

/** False when the message must come again. What is left is hinted at, so that others go on at once. */
async function isDone(
  { logger }: Pick<Wiring, "logger">,
  ports: Ports,
  hint: Hint,
  { outcome, flips, tried }: CompactedShard,
): Promise<boolean> {
  if (outcome === "failed") return false;
  if (outcome !== "out-of-time") return true;
  // A pass that the whole time was not enough for counts as a failure, or it would be tried for ever.
  if (tried && flips === 0) return false;
  try {
    await ports.hints.send(hint);
    return true;
  } catch (error) {
    logger.log("warn", "hint not sent", { ...hint, error: reasonOf(error) });
    return false;
  }
}

/** Each shard once. */
function tell({ logger, metrics }: CompactWiring, hint: Hint, compacted: CompactedShard): void {
  const { outcome, excess, error, excluded, ...rest } = compacted;
  const { collection, shard } = hint;
  const where = { collection, shard };
  for (const { runId, sequence, reason } of excluded) {
    logger.log("error", "run excluded", { ...where, runId, sequence, reason });
  }
  if (excess !== undefined) {
    metrics.count("CompactionTooLarge", 1);
    const advice = `"silt compact ${collection}" does it from a machine with more`;
    logger.log("error", "compaction does not fit", { ...where, ...excess, advice });
    if (outcome === "too-large") return;
  }
  if (error !== undefined) {
    logger.log("error", error.message, { ...where, kind: error.kind });
    return;
  }
  const level = outcome === "out-of-time" ? "warn" : "info";
  logger.log(level, `shard ${outcome}`, { ...where, ...rest });
}

export const handler = lambda<SQSEvent, SQSBatchResponse>((wiring) => {
  const ports = once(() => openEnvPorts(wiring.env, wiring, { create: false }));
  return createCompactHandler({ ...wiring, ports });
});
