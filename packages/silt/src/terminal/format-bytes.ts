const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** `0 B`, `999 B`, `1.5 KiB`, `12.3 MiB`, `123 MiB`: binary units, about three digits. */
export function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes)) return "-";
  let unit = 0;
  let value = bytes;
  // 1023.6 KiB would round to "1024 KiB", so that the step is taken where rounding takes it.
  while (Math.round(Math.abs(value)) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || Math.abs(value) >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}
