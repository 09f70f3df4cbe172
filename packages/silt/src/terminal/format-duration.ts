const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** From here tenths of a second would round to 10.0. */
const TENTHS_BELOW_MS = 9_950;

/** `1 h 3 min`: the larger unit, and what is left in the smaller one unless that is none. */
function twoUnits(ms: number, large: number, small: number, names: readonly [string, string]) {
  const whole = Math.round(ms / small);
  const perLarge = large / small;
  const rest = whole % perLarge;
  const head = `${Math.floor(whole / perLarge)} ${names[0]}`;
  return rest === 0 ? head : `${head} ${rest} ${names[1]}`;
}

/** `0 ms`, `340 ms`, `1.2 s`, `42 s`, `2 min 5 s`, `1 h 3 min`, `3 d 4 h`; a negative one is `0 ms`. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms)) return "-";
  const rounded = Math.max(0, Math.round(ms));
  if (rounded < SECOND_MS) return `${rounded} ms`;
  if (rounded < TENTHS_BELOW_MS) return `${(rounded / SECOND_MS).toFixed(1)} s`;
  if (rounded < MINUTE_MS - SECOND_MS / 2) return `${Math.round(rounded / SECOND_MS)} s`;
  if (rounded < HOUR_MS - SECOND_MS / 2) {
    return twoUnits(rounded, MINUTE_MS, SECOND_MS, ["min", "s"]);
  }
  if (rounded < DAY_MS - MINUTE_MS / 2) return twoUnits(rounded, HOUR_MS, MINUTE_MS, ["h", "min"]);
  return twoUnits(rounded, DAY_MS, HOUR_MS, ["d", "h"]);
}
