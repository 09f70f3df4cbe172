/** `npm run aws:up | aws:down | aws:deploy | aws:demo`: the stack on an AWS API server of this machine. */
import { down, up } from "./up.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);
const actions: Readonly<Record<string, (say: (line: string) => void) => Promise<void>>> = {
  up,
  down,
};

const [name = ""] = process.argv.slice(2);
const action = actions[name];
if (action === undefined) {
  process.stderr.write(`Unknown action "${name}", expected ${Object.keys(actions).join(", ")}\n`);
  process.exitCode = 2;
} else {
  try {
    await action(say);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 1;
  }
}
