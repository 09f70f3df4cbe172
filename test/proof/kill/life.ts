/** One life of a slot: its process is started, may be stopped for a while, and ends by SIGKILL. */
import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { RoleEvent } from "./role-context.ts";
import type { Slot } from "./slots.ts";
import { type Fate, type Moment, readPhase } from "./watched-ports.ts";
import { phasePath, type World } from "./world.ts";

const PROCESS = fileURLToPath(new URL("./role-process.ts", import.meta.url));
const COMMAND = fileURLToPath(new URL("../../../packages/silt/bin/silt.js", import.meta.url));
const STDERR_CHARS_MAX = 4_000;
/** nodejs/node issue 64500: V8 may abort where threads come and go, which is no failure of ours. */
const V8_ABORT = "Check failed: jit_page.has_value()";
/** Of a command that ends by itself: done, or busy and unavailable. */
const COMMAND_MAY_END = [0, 4];

/** How a life ends: during the start, so long after it was ready, or by its own hand at a moment. */
export type Ending =
  | { readonly kind: "start"; readonly ms: number }
  | { readonly kind: "timer"; readonly ms: number }
  | { readonly kind: "moment"; readonly moment: Moment; readonly msMax: number };

export interface LifePlan {
  readonly slot: Slot;
  readonly seed: number;
  readonly ending: Ending;
  /** Stopped at a moment for so long: its lease runs out meanwhile. Then it works until its end. */
  readonly sleep?: { readonly moment: Moment; readonly ms: number };
}

export interface LifeReport {
  readonly slot: Slot;
  readonly ending: Ending["kind"];
  readonly end: "killed" | "ended" | "aborted";
  /** What it was in the middle of. */
  readonly phase: string;
  readonly did: ReadonlyMap<string, number>;
  /** Failures that Silt may have, by kind, with an example. */
  readonly errors: ReadonlyMap<string, string>;
  readonly wrong: readonly string[];
}

export interface LifeOptions {
  /** What runs the process, e.g. as somebody else. */
  readonly wrapper?: readonly string[];
  readonly input?: string;
}

/** A process that runs; what it says is counted. */
export class Life {
  readonly plan: LifePlan;
  readonly ended: Promise<LifeReport>;
  readonly #world: World;
  readonly #child: ChildProcess;
  readonly #did = new Map<string, number>();
  readonly #errors = new Map<string, string>();
  readonly #wrong: string[] = [];
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #news = new EventEmitter();
  #failures = 0;
  #isOver = false;
  #stderr = "";
  #isReady = false;

  constructor(world: World, plan: LifePlan, options: LifeOptions = {}) {
    this.plan = plan;
    this.#world = world;
    const [command = "", ...args] = [
      ...(options.wrapper ?? []),
      process.execPath,
      ...argumentsOf(world, plan),
    ];
    this.#child = spawn(command, args, {
      env: environmentOf(world),
      stdio: ["pipe", "pipe", "pipe"],
    });
    // Who is killed does not read what it is given.
    this.#child.stdin?.on("error", () => {});
    this.#child.stdin?.end(options.input ?? "");
    this.#child.stderr?.on("data", (chunk) => {
      this.#stderr = `${this.#stderr}${chunk}`.slice(-STDERR_CHARS_MAX);
    });
    this.ended = this.#listen();
    const { ending } = plan;
    if (plan.slot.args !== undefined) this.#ready();
    else if (ending.kind === "start") this.#after(ending.ms, () => this.kill());
  }

  /** So many times it said that it did this, until now. */
  count(what: string): number {
    return this.#did.get(what) ?? 0;
  }

  /** So many things it said that it did. */
  get deeds(): number {
    return [...this.#did.values()].reduce((sum, count) => sum + count, 0);
  }

  /** So many failures it told. */
  get failures(): number {
    return this.#failures;
  }

  /** Resolves when `holds`, which is asked at each thing that it says; false when it ended before. */
  async until(holds: (life: Life) => boolean): Promise<boolean> {
    while (!holds(this)) {
      if (this.#isOver) return false;
      await once(this.#news, "said");
    }
    return true;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #after(ms: number, action: () => void): void {
    this.#timers.push(setTimeout(action, ms));
  }

  #ready(): void {
    this.#isReady = true;
    const { ending } = this.plan;
    if (ending.kind !== "start") {
      this.#after(ending.kind === "timer" ? ending.ms : ending.msMax, () => this.kill());
    } else if (this.plan.slot.args !== undefined) this.#after(ending.ms, () => this.kill());
  }

  /** Wakes it after a while; its end comes so much later. */
  #asleep(): void {
    const { ending, sleep } = this.plan;
    if (sleep === undefined || ending.kind !== "timer") return;
    for (const timer of this.#timers.splice(0)) clearTimeout(timer);
    this.#after(sleep.ms, () => this.#child.kill("SIGCONT"));
    this.#after(sleep.ms + ending.ms, () => this.kill());
  }

  async #listen(): Promise<LifeReport> {
    const closed = new Promise<{ code: number | null; signal: string | null }>(
      (resolve, reject) => {
        this.#child.on("error", reject);
        this.#child.on("close", (code, signal) => resolve({ code, signal }));
      },
    );
    if (this.plan.slot.args !== undefined) this.#child.stdout?.resume();
    else {
      const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
      lines.on("line", (line) => this.#hear(JSON.parse(line)));
    }
    const { code, signal } = await closed;
    this.#isOver = true;
    this.#news.emit("said");
    for (const timer of this.#timers) clearTimeout(timer);
    return this.#reportOf(code, signal);
  }

  #hear(event: RoleEvent): void {
    if ("ready" in event) this.#ready();
    else if ("sleeps" in event) {
      this.#asleep();
      this.#did.set(`asleep at ${event.sleeps}`, 1);
    } else if ("wrong" in event) this.#wrong.push(`${this.plan.slot.name}: ${event.wrong}`);
    else if ("error" in event) {
      this.#failures += 1;
      this.#errors.set(event.error, event.message);
    } else this.#did.set(event.did, this.count(event.did) + (event.count ?? 1));
    this.#news.emit("said");
  }

  #reportOf(code: number | null, signal: string | null): LifeReport {
    const { slot, ending } = this.plan;
    const isCommand = slot.args !== undefined;
    const killed = signal === "SIGKILL";
    const aborted = !killed && this.#stderr.includes(V8_ABORT);
    const mayEnd = isCommand && COMMAND_MAY_END.includes(code ?? -1);
    if (!killed && !aborted && !mayEnd && this.#wrong.length === 0) {
      this.#wrong.push(`${slot.name} ended with ${signal ?? `code ${code}`}: ${this.#stderr}`);
    }
    if (isCommand && !killed) this.#did.set(`exit code ${code}`, 1);
    return {
      slot,
      ending: this.#isReady || isCommand ? ending.kind : "start",
      end: killed ? "killed" : aborted ? "aborted" : "ended",
      phase: isCommand
        ? `silt ${slot.args?.[0]}`
        : this.#isReady
          ? this.#phase()
          : `start: ${this.#phase()}`,
      did: this.#did,
      errors: this.#errors,
      wrong: this.#wrong,
    };
  }

  #phase(): string {
    try {
      return readPhase(phasePath(this.#world, this.plan.slot.name)) || "loading";
    } catch {
      return "loading";
    }
  }
}

function argumentsOf(world: World, plan: LifePlan): readonly string[] {
  const { slot, seed } = plan;
  if (slot.args !== undefined) return [COMMAND, ...slot.args, "--store", world.location, "--json"];
  const fate = fateOf(plan);
  const fates = fate === undefined ? [] : [JSON.stringify(fate)];
  return [PROCESS, slot.role, slot.name, world.root, String(seed), ...fates];
}

function fateOf({ ending, sleep }: LifePlan): Fate | undefined {
  if (sleep !== undefined) return { moment: sleep.moment, signal: "SIGSTOP" };
  if (ending.kind === "moment") return { moment: ending.moment, signal: "SIGKILL" };
  return undefined;
}

function environmentOf(world: World): NodeJS.ProcessEnv {
  return {
    ...process.env,
    TMPDIR: world.temporary,
    SILT_CACHE: world.cacheFolder,
    // Not below TMPDIR, where what is left shows; shared, for half of a start is compiling.
    NODE_COMPILE_CACHE: join(tmpdir(), "node-compile-cache"),
  };
}
