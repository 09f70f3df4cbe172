/** One life of a slot: its process is started, may be stopped for a while, and ends by SIGKILL. */
import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { RoleEvent } from "./role-context.ts";
import type { Slot } from "./slots.ts";
import { type Moment, readPhase } from "./watched-ports.ts";
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
  /** Stopped so long after it was ready, for so long: its lease runs out meanwhile. */
  readonly sleep?: { readonly afterMs: number; readonly ms: number };
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

  constructor(
    world: World,
    plan: LifePlan,
    options: { readonly wrapper?: readonly string[] } = {},
  ) {
    this.plan = plan;
    this.#world = world;
    const [command = "", ...args] = [
      ...(options.wrapper ?? []),
      process.execPath,
      ...argumentsOf(world, plan),
    ];
    this.#child = spawn(command, args, {
      env: environmentOf(world),
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child.stderr?.on("data", (chunk) => {
      this.#stderr = `${this.#stderr}${chunk}`.slice(-STDERR_CHARS_MAX);
    });
    this.ended = this.#listen();
    const { ending } = plan;
    if (plan.slot.role === "command") this.#ready();
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
    const { ending, sleep } = this.plan;
    if (ending.kind !== "start") {
      this.#after(ending.kind === "timer" ? ending.ms : ending.msMax, () => this.kill());
    } else if (this.plan.slot.role === "command") this.#after(ending.ms, () => this.kill());
    if (sleep === undefined) return;
    this.#after(sleep.afterMs, () => this.#child.kill("SIGSTOP"));
    this.#after(sleep.afterMs + sleep.ms, () => this.#child.kill("SIGCONT"));
  }

  async #listen(): Promise<LifeReport> {
    const closed = new Promise<{ code: number | null; signal: string | null }>(
      (resolve, reject) => {
        this.#child.on("error", reject);
        this.#child.on("close", (code, signal) => resolve({ code, signal }));
      },
    );
    if (this.plan.slot.role === "command") this.#child.stdout?.resume();
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
    else if ("wrong" in event) this.#wrong.push(`${this.plan.slot.name}: ${event.wrong}`);
    else if ("error" in event) {
      this.#failures += 1;
      this.#errors.set(event.error, event.message);
    } else this.#did.set(event.did, this.count(event.did) + (event.count ?? 1));
    this.#news.emit("said");
  }

  #reportOf(code: number | null, signal: string | null): LifeReport {
    const { slot, ending } = this.plan;
    const isCommand = slot.role === "command";
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

function argumentsOf(world: World, { slot, seed, ending }: LifePlan): readonly string[] {
  if (slot.args !== undefined) return [COMMAND, ...slot.args, "--store", world.location, "--json"];
  const moment = ending.kind === "moment" ? [JSON.stringify(ending.moment)] : [];
  return [PROCESS, slot.role, slot.name, world.root, String(seed), ...moment];
}

function environmentOf(world: World): NodeJS.ProcessEnv {
  return {
    ...process.env,
    TMPDIR: world.temporary,
    SILT_CACHE: world.cacheFolder,
    NODE_COMPILE_CACHE: join(world.root, "compiled"),
  };
}
