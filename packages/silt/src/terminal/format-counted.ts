import { formatCount } from "./format-count.ts";

/** `1 run`, `1,234 runs`. */
export const formatCounted = (count: number, noun: string): string =>
  `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
