const COUNT = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** `1,234,567`, whatever the machine's locale. */
export function formatCount(count: number): string {
  return Number.isFinite(count) ? COUNT.format(count) : "-";
}
