import { sha256Of } from "@silt/core";
import { expect } from "vitest";
import { openStore } from "./open-store.ts";

export interface StoredSegment {
  readonly key: string;
  readonly bytes: Uint8Array;
}

const BYTES_MAX = 64 * 1024 * 1024;

/** The only segment of a store, wherever that is. */
export async function onlySegment(location: string): Promise<StoredSegment> {
  await using store = await openStore(location, { create: false });
  const { objects } = store.context.ports;
  const listed = await objects.list("collections/", { limit: 1_000 });
  const [segment, ...others] = listed.filter(({ key }) => key.endsWith(".sqlite"));
  expect(others).toEqual([]);
  const found = await objects.get(segment?.key ?? "", { bytesMax: BYTES_MAX });
  if (found.outcome !== "found") throw new Error("expected one segment");
  return { key: segment?.key ?? "", bytes: found.bytes };
}

/** Other bytes take the place of an object's, as no part of Silt would do it. */
export async function overwriteObject(location: string, { key, bytes }: StoredSegment) {
  await using store = await openStore(location, { create: false });
  const { objects } = store.context.ports;
  const found = await objects.get(key, { bytesMax: BYTES_MAX });
  if (found.outcome !== "found") throw new Error(`expected "${key}"`);
  const digest = { bytes: bytes.byteLength, sha256: sha256Of(bytes) };
  await objects.put(
    key,
    { kind: "bytes", bytes },
    { condition: { ifMatch: found.etag }, ...digest },
  );
}
