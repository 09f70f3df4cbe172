/** `--store s3://…` that is no store, or not for whoever asks: exit code and words. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { newUser } from "../contract/s3-world.fixture.ts";
import { newBucket, newTable, rootClients } from "../test-account.fixture.ts";

const COMMAND = fileURLToPath(new URL("../../../packages/silt/bin/silt.js", import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly stderr: string;
}

/** The command as a process of its own, in an environment of its own. */
function silt(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const child = spawn(process.execPath, [COMMAND, ...args], {
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stderr }));
  });
}

let bucket: string;
let table: string;
let otherTable: string;
let location: string;
beforeAll(async () => {
  using clients = rootClients();
  bucket = await newBucket(clients);
  [table, otherTable] = [await newTable(clients), await newTable(clients)];
  location = `s3://${bucket}/notes?table=${table}`;
  expect(await silt(["init", "notes", "--dimension", "2", "--store", location])).toMatchObject({
    code: 0,
  });
}, 120_000);

const init = (store: string, env: NodeJS.ProcessEnv = {}) =>
  silt(["init", "notes", "--dimension", "2", "--store", store], env);

describe("silt --store s3://…", () => {
  it("says that the bucket is not there, ends with 2", async () => {
    const { code, stderr } = await init(`s3://no-such-bucket-of-ours/notes?table=${otherTable}`);
    expect(stderr).toMatch(/bucket is not there/);
    expect(code).toBe(2);
  });

  it("says that the table is not there, ends with 2", async () => {
    const { code, stderr } = await init(`s3://${bucket}/else?table=no-such-table`);
    expect(stderr).toMatch(/table no-such-table": the table is not there/);
    expect(code).toBe(2);
  });

  it("says that a table must be named, ends with 2", async () => {
    const { code, stderr } = await init(`s3://${bucket}/notes`);
    expect(stderr).toMatch(/does not name the table.*s3:\/\/bucket\/prefix\?table=NAME/);
    expect(code).toBe(2);
  });

  it("F52 refuses a bucket with the table of another store, ends with 2 and names the right one", async () => {
    const wrongTable = await init(`s3://${bucket}/notes?table=${otherTable}`);
    expect(wrongTable.stderr).toMatch(`open it with ?table=${table}`);
    expect(wrongTable.code).toBe(2);
    const wrongPrefix = await init(`s3://${bucket}/else?table=${table}`);
    expect(wrongPrefix.stderr).toMatch(`the store at "s3://${bucket}/notes/"`);
    expect(wrongPrefix.code).toBe(2);
  });

  it("makes no store to read from, ends with 2", async () => {
    const { code, stderr } = await silt([
      "get",
      "notes",
      "--store",
      `s3://${bucket}/empty?table=${otherTable}`,
    ]);
    expect(stderr).toMatch(/there is no store/);
    expect(code).toBe(2);
  });

  it("F57 without credentials it is unavailable, ends with 4 and says what to do", async () => {
    const nobody = {
      AWS_ACCESS_KEY_ID: undefined,
      AWS_SECRET_ACCESS_KEY: undefined,
      AWS_SHARED_CREDENTIALS_FILE: "/nowhere",
      AWS_CONFIG_FILE: "/nowhere",
      AWS_EC2_METADATA_DISABLED: "true",
    };
    const { code, stderr } = await silt(["status", "--store", location], nobody);
    expect(stderr).toMatch(/no valid credentials.*log in/);
    expect(code).toBe(4);
  });

  it("F57 denied it is unavailable, ends with 4 and names the grant", async () => {
    using denied = await newUser(`${table}-denied`, [
      { Effect: "Allow", Action: "s3:*", Resource: "*" },
    ]);
    const { accessKeyId, secretAccessKey } = await denied.s3.config.credentials();
    const env = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey };
    const { code, stderr } = await silt(["status", "--store", location], env);
    expect(stderr).toMatch(/access denied.*grant dynamodb:GetItem/);
    expect(code).toBe(4);
  });
});
