/** A UUIDv7 (RFC 9562): 48 bits of Unix time in ms, then random bits. `random` holds 16 bytes. */
export function uuidV7(nowMs: number, random: Uint8Array): string {
  const bytes = Uint8Array.from(random.subarray(0, 16));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, Math.floor(nowMs / 2 ** 32));
  view.setUint32(2, nowMs % 2 ** 32);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x70;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join("-");
}

/** 16 hexadecimal digits of the given random bytes, for store and commit ids. */
export function shortId(random: Uint8Array): string {
  return Array.from(random.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
