/** Virtual environments of Python under `.cache/`, made from a list of locked versions. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const CACHE = join(import.meta.dirname, "..", ".cache");
/** Says that an environment is whole, and what of. */
const STAMP = "silt-requirements.sha256";

export interface Venv {
  readonly folder: string;
  /** Of its executables. */
  readonly bin: string;
}

/**
 * The environment `name` with what `localstack/requirements-<name>.txt` lists; made, or made anew, when
 * it is not what the list says. Throws with what to install when there is no Python.
 */
export function ensureVenv(name: string, say: (line: string) => void): Venv {
  const list = join(import.meta.dirname, `requirements-${name}.txt`);
  const digest = createHash("sha256").update(readFileSync(list)).digest("hex");
  const folder = join(CACHE, name);
  const venv = { folder, bin: join(folder, "bin") };
  const stamp = join(folder, STAMP);
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === digest) return venv;
  say(`installing ${name} into .cache/${name} (once)`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(dirname(folder), { recursive: true });
  run("python3", ["-m", "venv", folder], PYTHON_NEEDED);
  // Compiling all of it would take as long as fetching it; what is used is compiled when it is.
  run(join(venv.bin, "pip"), [
    "install",
    "--quiet",
    "--no-compile",
    "--disable-pip-version-check",
    "-r",
    list,
  ]);
  writeFileSync(stamp, digest);
  return venv;
}

const PYTHON_NEEDED =
  "an AWS API server needs Python 3.11 or later with its venv module (Debian: apt-get install python3-venv), or a docker engine";

function run(command: string, args: readonly string[], hint?: string): void {
  const { status, error, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (status === 0) return;
  const reason = error?.message ?? stderr.trim().split("\n").at(-1) ?? `code ${status}`;
  const advice = hint === undefined ? "" : `; ${hint}`;
  throw new Error(`Cannot run "${command} ${args.join(" ")}": ${reason}${advice}`);
}
