/**
 * One cache folder, as EFS gives it to functions, that processes of several users with several umasks use
 * at once, through compactions and evictions, killed at random moments.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { createSeededRandom, type SeededRandom } from "@silt/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openStore, type Store } from "../../../packages/silt/src/index.ts";
import { testPlace } from "../../../packages/silt/src/test-place.fixture.ts";
import { letComeToSources } from "../../proof/come-to-sources.ts";
import { canBeNobody } from "../../proof/kill/somebody-else.ts";

const PROCESS = fileURLToPath(new URL("./cache-reader.process.ts", import.meta.url));
const READERS = 6;
const UMASKS = ["077", "022", "002"];
/** 0 is whoever runs the tests. */
const USERS = [65_534, 65_533, 0];
/** From 2,000 rows on there are vector files, too. */
const ROWS = 2_100;
const TURNS = 2;
const ANSWERS_A_TURN = 3;
const KILL_CHANCE = 0.4;
const SEED = 7;
const WAIT_MS_MAX = 120_000;
const TEST_MS_MAX = 400_000;

let folder: string;
let opened: Disposable | undefined;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "silt-shared-"));
  chmodSync(folder, 0o755);
  mkdirSync(join(folder, "compiled"));
  chmodSync(join(folder, "compiled"), 0o777);
  if (canBeNobody()) opened = letComeToSources();
});
afterAll(() => {
  opened?.[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** Readers that are killed and started again; what they say is kept. */
class Readers {
  readonly wrong: string[] = [];
  readonly failures: string[] = [];
  /** Answers since each was started last. */
  readonly answers: number[] = Array(READERS).fill(0);
  newest = -1;
  readonly #children: ChildProcess[] = [];
  readonly #location: string;
  readonly #cacheFolder: string;

  constructor(location: string, cacheFolder: string) {
    this.#location = location;
    this.#cacheFolder = cacheFolder;
    for (let seat = 0; seat < READERS; seat++) this.start(seat);
  }

  start(seat: number): void {
    const umask = UMASKS[seat % UMASKS.length] as string;
    const user = canBeNobody() ? (USERS[(seat >> 1) % USERS.length] as number) : 0;
    const become = user === 0 ? [] : [`--reuid=${user}`, `--regid=${user}`, "--clear-groups"];
    const args = [PROCESS, this.#location, this.#cacheFolder, umask, String(ROWS)];
    const [command = "", ...rest] = [
      ...(user === 0 ? [] : ["setpriv", ...become]),
      process.execPath,
      ...args,
    ];
    const child = spawn(command, rest, {
      // Half of a start would be compiling.
      env: { ...process.env, NODE_COMPILE_CACHE: join(folder, "compiled") },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#children[seat] = child;
    this.answers[seat] = 0;
    let errors = "";
    child.stderr.on("data", (chunk) => {
      errors += chunk;
    });
    const who = `reader ${seat} of user ${user} with umask ${umask}`;
    child.on("close", (code) => {
      if (code !== null) this.wrong.push(`${who} ended with ${code}: ${errors}`);
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      const said = JSON.parse(line);
      if ("wrong" in said) this.wrong.push(`${who}: ${said.wrong}`);
      else if ("failure" in said) this.failures.push(`${who}: ${said.failure} ${said.message}`);
      else {
        this.newest = Math.max(this.newest, said.turn);
        this.answers[seat] = (this.answers[seat] ?? 0) + 1;
      }
    });
  }

  kill(seat: number): void {
    this.#children[seat]?.kill("SIGKILL");
  }

  /** Everybody answers so often, whatever happened to the others; false when somebody does not. */
  async everybodyAnswers(times: number): Promise<boolean> {
    const aims = this.answers.map((count) => count + times);
    const deadline = Date.now() + WAIT_MS_MAX;
    while (!aims.every((aim, seat) => (this.answers[seat] ?? 0) >= aim)) {
      if (Date.now() > deadline || this.wrong.length > 0) return false;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return true;
  }

  [Symbol.dispose](): void {
    for (let seat = 0; seat < READERS; seat++) this.kill(seat);
  }
}

/** One run, one compaction: any other mixture of turns is a wrong answer. */
async function writeTurn(store: Store, turn: number): Promise<void> {
  const collection = await store.collection("turns", {
    dimension: 2,
    policy: "single",
    metric: "l2",
  });
  const record = (row: number) => ({ id: `${row}`, embedding: [row, turn], metadata: { turn } });
  await collection.put(Array.from({ length: ROWS }, (_, row) => record(row)));
  const [report] = await store.compact();
  expect(report).toMatchObject({ outcome: "flipped" });
}

function killSome(readers: Readers, random: SeededRandom): void {
  for (let seat = 0; seat < READERS; seat++) {
    if (!random.chance(KILL_CHANCE)) continue;
    readers.kill(seat);
    readers.start(seat);
  }
}

it.for([
  ["anybody may replace what others put there", 0o777],
  ["everybody may remove only what is his own", 0o1777],
] as const)(
  "processes of several users and umasks share a cache folder in which %s, and answer right",
  {
    timeout: TEST_MS_MAX,
  },
  async ([, mode], context) => {
    const root = join(folder, mode.toString(8));
    mkdirSync(join(root, "cache"), { recursive: true });
    chmodSync(join(root, "cache"), mode);
    const place = testPlace(root);
    await place.prepare();
    const random = createSeededRandom(SEED);
    await using store = await openStore(place.location, { cacheFolder: join(root, "own") });
    await writeTurn(store, 0);
    using readers = new Readers(place.location, join(root, "cache"));
    for (let turn = 1; turn <= TURNS; turn++) {
      const answered = await readers.everybodyAnswers(ANSWERS_A_TURN);
      expect(readers.wrong).toEqual([]);
      expect(answered, `${readers.answers} ${readers.failures.slice(-3)}`).toBe(true);
      await writeTurn(store, turn);
      killSome(readers, random);
    }
    expect(await readers.everybodyAnswers(ANSWERS_A_TURN), readers.failures.at(-1)).toBe(true);
    expect(readers.wrong).toEqual([]);
    expect(readers.newest).toBe(TURNS);
    // Nobody fails because of whose files they are.
    expect(readers.failures.filter((text) => /EACCES|EPERM|permission/i.test(text))).toEqual([]);
    if (!canBeNobody()) context.skip("NOT TESTED: other users of the cache; run as root");
  },
);
