/**
 * Where a test's store is: in a folder, or on the AWS API server of the run when `SILT_TEST_BUCKET` names
 * a bucket. So the same tests of library and command show that both behave alike.
 */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { newTable, rootClients } from "../../../test/aws/test-account.fixture.ts";

export interface TestPlace {
  readonly location: string;
  /** Makes what must be there before a store is. */
  prepare(): Promise<void>;
}

/** A place for one new store; `folder` is the test's own. */
export function testPlace(folder: string): TestPlace {
  const bucket = process.env.SILT_TEST_BUCKET;
  if (bucket === undefined) return { location: join(folder, "store"), prepare: async () => {} };
  const id = randomUUID();
  const table = `silt-test-${id}`;
  let prepared: Promise<void> | undefined;
  const prepare = async () => {
    using clients = rootClients();
    await newTable(clients, table);
  };
  return {
    location: `s3://${bucket}/${id}?table=${table}`,
    prepare: () => {
      prepared ??= prepare();
      return prepared;
    },
  };
}
