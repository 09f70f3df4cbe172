/**
 * The SQL merge against core's fold on many random logs: `node test/bench/merge-million.ts [from] [to]`,
 * by default seeds 1 to 1,000,000. Stop it at any time: the last line says where to go on.
 */
import { runMergeTrial, temporaryFolder } from "../../packages/segment/src/merge-trial.fixture.ts";

const SEEDS_A_TRIAL = 250;
const SEEDS_A_LINE = 25_000;

const [from = 1, to = 1_000_000] = process.argv.slice(2).map(Number);
const startMs = performance.now();
const total = { merges: 0, records: 0, superseded: 0 };
using folder = temporaryFolder();

for (let seed = from; seed <= to; seed += SEEDS_A_TRIAL) {
  const last = Math.min(to, seed + SEEDS_A_TRIAL - 1);
  try {
    const tally = runMergeTrial(folder.path, seed, last);
    total.merges += tally.merges;
    total.records += tally.records;
    total.superseded += tally.superseded;
  } catch (error) {
    // An id "17/id-3" in the message belongs to the 18th seed of the trial.
    throw new Error(`seeds ${seed} to ${last}: ${(error as Error).message}`, { cause: error });
  }
  if ((last - from + 1) % SEEDS_A_LINE === 0 || last === to) {
    const seconds = Math.round((performance.now() - startMs) / 1000);
    process.stdout.write(
      `seeds ${from} to ${last}: 0 differences, ${total.merges} merges, ` +
        `${total.records} records, ${total.superseded} superseded, ${seconds} s\n`,
    );
  }
}
