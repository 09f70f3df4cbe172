/** What is ingested: sources that change, and events about them that come twice, late, out of order or never. */
import { sha256Of } from "@silt/core";
import type { SeededRandom } from "../seeded-random.ts";
import type { Actor } from "./actor.ts";
import type { SourceState } from "./actors/ingester.ts";
import { callStore } from "./simulated-ports.ts";
import type { Simulation } from "./simulation.ts";

const GONE_CHANCE = 0.25;
const ROWS_MAX = 3;
const EVENTS_MAX_EACH = 2;

export class Sources {
  readonly #sim: Simulation;
  readonly #states = new Map<string, SourceState>();
  readonly #events: string[] = [];
  /** Digests of each source, null = gone, with the number of the change that made it so. */
  readonly #changed = new Map<
    string,
    { readonly digest: string | null; readonly number: number }[]
  >();
  #changes = 0;

  constructor(sim: Simulation) {
    this.#sim = sim;
  }

  /** As it is now; undefined when it is gone or never was. */
  stateOf(uri: string): SourceState | undefined {
    return this.#states.get(uri);
  }

  change(uri: string, random: SeededRandom): void {
    this.#changes += 1;
    const { collections } = this.#sim.plan;
    if (random.chance(GONE_CHANCE)) this.#states.delete(uri);
    else {
      this.#states.set(uri, {
        digest: sha256Of(`${uri} ${this.#changes}`),
        counts: collections.map(() => random.int(ROWS_MAX + 1)),
      });
    }
    const digest = this.#states.get(uri)?.digest ?? null;
    this.#changed.set(uri, [...(this.#changed.get(uri) ?? []), { digest, number: this.#changes }]);
    for (let left = random.int(EVENTS_MAX_EACH + 1); left > 0; left--) {
      this.#events.splice(random.int(this.#events.length + 1), 0, uri);
    }
  }

  /** The change that made a source so first; 0 for what it was before all changes. */
  firstNumberOf(uri: string, digest: string | null): number {
    return this.#changed.get(uri)?.find((one) => one.digest === digest)?.number ?? 0;
  }

  lastNumberOf(uri: string, digest: string | null): number {
    return this.#changed.get(uri)?.findLast((one) => one.digest === digest)?.number ?? 0;
  }

  takeEvent(): string | undefined {
    return this.#events.shift();
  }

  /** Reads a source over the network. */
  read(actor: Actor, uri: string): Promise<SourceState | undefined> {
    return callStore(this.#sim, actor, {
      method: "readSource",
      subject: uri,
      mutates: false,
      effect: async () => this.#states.get(uri),
    });
  }
}
