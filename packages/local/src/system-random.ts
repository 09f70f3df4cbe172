import { randomBytes } from "node:crypto";
import type { Random } from "@silt/core";

const FRACTION_BYTES = 6;

/** Randomness of the operating system. */
export const systemRandom: Random = {
  bytes: (length) => randomBytes(length),
  fraction: () => randomBytes(FRACTION_BYTES).readUIntBE(0, FRACTION_BYTES) / 2 ** 48,
};
