/**
 * What happens to the world rather than to one call: throttling, lost permissions, full disks, clocks
 * that jump, hours that pass, objects that rot or vanish at rest. Each ends by itself or when faults stop.
 */
import type { StoredObject } from "../memory-object-store.ts";
import type { SeededRandom } from "../seeded-random.ts";
import type { Actor } from "./actor.ts";
import type { WeatherFault } from "./faults.ts";
import type { Theme } from "./schedule-plan.ts";
import { drawDelay } from "./simulated-ports.ts";
import type { Simulation } from "./simulation.ts";

interface Spell {
  readonly actor: Actor | undefined;
  readonly untilMs: number;
  /** Keys that it hides or denies. */
  readonly part: string | undefined;
}

const HURT_AT_ONCE_MAX = 3;
const ANYTHING = /\/(?:deltas|snapshots)\//;
const BUNDLES = /\/deltas\//;
/** What is hurt at rest; log and pointer are not. */
const HURTS: Readonly<Record<Theme, RegExp>> = {
  mixed: ANYTHING,
  history: ANYTHING,
  ingest: ANYTHING,
  races: ANYTHING,
  poison: BUNDLES,
  decisions: BUNDLES,
};
const PENDING_CHANCE = 0.75;
const READS: ReadonlySet<string> = new Set(["get", "read", "head", "list"]);
const PARTS = ["/deltas/", "/snapshots/", "/shards/"] as const;
const LEAPS_MS = [31_000, 300_000, 3_700_000, 90_000_000];
const JUMPS_MS = [-7_200_000, -5_000, 5_000, 60_000, 7_200_000];

export class Weather {
  /** Objects that are damaged or gone now, as they were. */
  readonly hurt = new Map<string, StoredObject>();
  readonly everDamaged = new Set<string>();
  readonly everMissing = new Set<string>();
  /** Somebody read other bytes than are stored. */
  everGarbled = false;
  /** Something looked absent that was not. */
  everVanished = false;
  readonly #sim: Simulation;
  readonly #random: SeededRandom;
  readonly #spells = new Map<WeatherFault, Spell>();

  constructor(sim: Simulation, random: SeededRandom) {
    this.#sim = sim;
    this.#random = random;
  }

  /** True when damage may explain what an operation says. */
  get everHurt(): boolean {
    const hidden = this.everVanished || this.everGarbled;
    return this.everDamaged.size > 0 || this.everMissing.size > 0 || hidden;
  }

  /** Why a call cannot succeed now. */
  hindrance(actor: Actor, method: string, subject: string): string | undefined {
    if (this.#spells.size === 0) return undefined;
    if (this.#over("throttled", actor) || this.#over("throttled-all", actor)) return "throttled";
    if (READS.has(method) && this.#over("denied", actor, subject)) return "denied";
    return undefined;
  }

  isVanished(actor: Actor, key: string): boolean {
    return this.#spells.size > 0 && this.#over("vanished", actor, key);
  }

  /** What the actor reads of bundles is garbled even now. */
  isGarbled(actor: Actor): boolean {
    return this.#over("garbled", actor, "/deltas/");
  }

  isDiskFull(actor: Actor): boolean {
    return this.#spells.size > 0 && this.#over("disk-full", actor);
  }

  /** What an actor gets to read of an object: broken off in the middle, or not what is stored. */
  bodyOf(actor: Actor, key: string, body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    if (this.#spells.size > 0 && this.#over("garbled", actor, key)) return garbled(body);
    return body;
  }

  #over(kind: WeatherFault, actor: Actor, key?: string): boolean {
    const spell = this.#spells.get(kind);
    if (spell === undefined) return false;
    if (spell.untilMs < this.#sim.scheduler.nowMs) {
      this.#spells.delete(kind);
      return false;
    }
    const hits = spell.actor === undefined || spell.actor === actor;
    return hits && (spell.part === undefined || key?.includes(spell.part) === true);
  }

  /** Lets one fault happen; false when there is nothing that it could happen to. */
  strike(kind: WeatherFault): boolean {
    const sim = this.#sim;
    const random = this.#random;
    const someone = random.pick(sim.actors);
    switch (kind) {
      case "throttled-all":
        return this.#begin(kind, undefined, undefined);
      case "throttled":
      case "disk-full":
        return this.#begin(kind, someone, undefined);
      case "denied":
        return this.#begin(kind, random.chance(0.3) ? undefined : someone, random.pick(PARTS));
      case "garbled":
        this.everGarbled = true;
        return this.#begin(kind, this.#compactor() ?? someone, "/deltas/");
      case "vanished":
        this.everVanished = true;
        return this.#begin(kind, someone, random.pick(PARTS));
      case "clock-jump":
        someone.clockOffsetMs += random.pick(JUMPS_MS);
        sim.tell(() => `the clock of ${someone.name} is now off by ${someone.clockOffsetMs} ms`);
        return true;
      case "time-leap":
        sim.scheduler.nowMs += random.pick(LEAPS_MS);
        sim.tell(() => "hours pass");
        return true;
      case "damaged":
      case "missing":
        return this.#hurt(kind);
      case "restored":
        return this.restore(random.pick([...this.hurt.keys(), ""]));
      case "cache-damaged":
        return sim.damageCache(random);
    }
  }

  /** Whoever judges bundles. */
  #compactor(): Actor | undefined {
    const compactors = this.#sim.actors.filter(({ role }) => role === "compactor");
    return compactors.length > 0 ? this.#random.pick(compactors) : undefined;
  }

  #begin(kind: WeatherFault, actor: Actor | undefined, part: string | undefined): boolean {
    const untilMs = this.#sim.scheduler.nowMs + drawDelay(this.#random);
    this.#spells.set(kind, { actor, untilMs, part });
    this.#sim.tell(() => `${kind}: ${actor?.name ?? "everybody"} ${part ?? ""}`);
    return true;
  }

  #hurt(kind: "damaged" | "missing"): boolean {
    if (this.hurt.size >= HURT_AT_ONCE_MAX) return false;
    const { objects } = this.#sim;
    const keys = [...objects.stored.keys()].filter(
      (key) => HURTS[this.#sim.plan.theme].test(key) && !this.hurt.has(key),
    );
    if (keys.length === 0) return false;
    // What is pending matters most: it is read once, and by everybody.
    const pending = new Set(
      [...this.#sim.checker.histories.values()].flatMap((history) =>
        history.pending.map(({ run }) => run.delta.key),
      ),
    );
    const chosen = this.#random.chance(PENDING_CHANCE)
      ? keys.filter((one) => pending.has(one))
      : [];
    const key = this.#random.pick(chosen.length > 0 ? chosen : keys);
    const object = objects.stored.get(key) as StoredObject;
    this.hurt.set(key, object);
    if (kind === "missing") {
      this.everMissing.add(key);
      objects.stored.delete(key);
    } else {
      this.everDamaged.add(key);
      objects.stored.set(key, { ...object, bytes: this.#damage(object.bytes) });
    }
    this.#sim.tell(() => `${kind}: ${this.#sim.short(key)}`);
    return true;
  }

  #damage(bytes: Uint8Array): Uint8Array {
    const at = this.#random.int(bytes.byteLength);
    if (this.#random.chance(0.3)) return bytes.slice(0, at);
    const damaged = bytes.slice();
    damaged[at] = (damaged[at] as number) ^ (1 << this.#random.int(8));
    return damaged;
  }

  /** Puts an object back as it was. */
  restore(key: string): boolean {
    const object = this.hurt.get(key);
    if (object === undefined) return false;
    this.hurt.delete(key);
    this.#sim.objects.stored.set(key, object);
    this.#sim.tell(() => `restored: ${this.#sim.short(key)}`);
    return true;
  }

  /** An object was deleted on purpose: nothing brings it back. */
  forgetHurt(key: string): void {
    this.hurt.delete(key);
  }

  /** Everything passes; what was hurt at rest comes back if it shall. */
  clear(heals: boolean): void {
    this.#spells.clear();
    if (heals) for (const key of [...this.hurt.keys()]) this.restore(key);
  }
}

/** Each chunk with one bit changed: a sick disk or proxy between the store and one machine. */
async function* garbled(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    const copy = chunk.slice();
    copy[0] = (copy[0] ?? 0) ^ 1;
    yield copy;
  }
}
