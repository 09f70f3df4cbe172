#!/usr/bin/env node
/** Starts the command: built where it is installed, from its sources in a checkout. Any Node can read this file. */
import { existsSync } from "node:fs";
import * as nodeModule from "node:module";

const NODE_MAJOR_MIN = 24;
if (Number(process.versions.node.split(".")[0]) < NODE_MAJOR_MIN) {
  process.stderr.write(
    `error Cannot run silt on Node ${process.versions.node}: expected ${NODE_MAJOR_MIN} or later; "npm install node@${NODE_MAJOR_MIN}" gives a project its own\n`,
  );
  process.exit(1);
}
// Compiled code is kept between runs, which halves the time to the first answer.
nodeModule.enableCompileCache();
const source = new URL("../src/main.ts", import.meta.url);
await import(existsSync(source) ? source.href : new URL("../dist/main.js", import.meta.url).href);
