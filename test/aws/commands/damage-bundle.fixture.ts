import { openStore } from "../../../packages/silt/src/open-store.ts";
import { overwriteObject } from "../../../packages/silt/src/stored-segment.fixture.ts";

const BYTES_MAX = 1024 * 1024;

/** Flips a bit in the middle of a run's bundle; what it gives mends it. */
export async function damageBundle(location: string, runId: string): Promise<() => Promise<void>> {
  await using store = await openStore(location, { create: false });
  const { objects } = store.context.ports;
  const listed = await objects.list("collections/", { limit: 1_000 });
  const key = listed.find((object) => object.key.includes(runId))?.key ?? "";
  const found = await objects.get(key, { bytesMax: BYTES_MAX });
  if (found.outcome !== "found") throw new Error(`run "${runId}" has no bundle`);
  const { bytes } = found;
  const rotten = Buffer.from(bytes);
  const middle = rotten.length >> 1;
  rotten[middle] = (rotten[middle] as number) ^ 16;
  await overwriteObject(location, { key, bytes: rotten });
  return () => overwriteObject(location, { key, bytes });
}
