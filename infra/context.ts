/** Settings from the command line (`-c name=value`) or `cdk.json`, checked before anything is built. */
import { RetentionDays } from "aws-cdk-lib/aws-logs";
import { closestOf } from "../packages/embed/src/closest-of.ts";
import { checkCollections } from "./collection-settings.ts";
import { refuse } from "./refuse-setting.ts";
import { FUNCTION_NAMES } from "./silt-function.ts";
import type { SiltSettings } from "./silt-stack.ts";

export interface AppSettings extends Omit<SiltSettings, "code" | "requireTls"> {
  readonly stackName: string;
  /** Deploys to an API server on this machine, with the credentials at hand. */
  readonly local: boolean;
  /** Bundles @xenova/transformers too, for collections with its embedders. */
  readonly xenova: boolean;
}

const STACK_NAME = /^[A-Za-z][A-Za-z0-9-]{0,99}$/;
const TEXTS = {
  architecture: /^(?:arm64|x86_64)$/,
  removal: /^(?:retain|destroy)$/,
  uploadsPrefix: /^.*$/,
  alarmTopicArn: /^arn:.+$/,
  pipeline: /^(?:auto|text|image)$/,
  textEmbedder: /^.+$/,
  imageEmbedder: /^.+$/,
} as const;
/** Smallest and largest value that the service takes. */
const NUMBERS = {
  compactionDiskMb: [512, 10_240],
  queryDiskMb: [512, 10_240],
  // Lambda takes no window of 0 for batches of more than 10.
  compactionWindowSeconds: [1, 300],
  ingestConcurrency: [2, 1_000],
  compactionConcurrency: [2, 1_000],
  streamRecordAgeSeconds: [60, 604_800],
  logRetentionDays: [1, 3_653],
} as const;
const MEMORY_MB = [128, 10_240] as const;
/** Less, and a compaction's own estimate would refuse every plan. */
const COMPACTION_MEMORY_MB = [512, 10_240] as const;
const FLAGS = ["local", "xenova", "sharedCache"] as const;
const JSONS = ["collections", "memoryMb"] as const;

/** All that may be set. */
export const SETTING_NAMES: readonly string[] = [
  "stackName",
  ...Object.keys(TEXTS),
  ...Object.keys(NUMBERS),
  ...FLAGS,
  ...JSONS,
];
/** Settings of CDK itself have other characters in their names. */
const OWN_NAME = /^[A-Za-z]+$/;

function inRange(name: string, value: unknown, [least, most]: readonly [number, number]): number {
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (typeof number === "number" && Number.isInteger(number) && number >= least && number <= most) {
    return number;
  }
  return refuse(name, value, `a whole number from ${least} to ${most}`);
}

function flagOf(name: string, value: unknown): boolean {
  if (value === true || value === "true") return true;
  if (value === undefined || value === false || value === "false") return false;
  return refuse(name, value, "true or false");
}

/** A value of `cdk.json` is JSON already, one of the command line is text. */
function jsonOf(name: string, value: unknown): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return refuse(name, value, "JSON");
  }
}

function memoryOf(value: unknown): NonNullable<SiltSettings["memoryMb"]> {
  if (value === null || typeof value !== "object") {
    return refuse("memoryMb", value, `an object with some of ${FUNCTION_NAMES.join(", ")}`);
  }
  const known = new Set<string>(FUNCTION_NAMES);
  const checked = Object.entries(value).map(([name, megabytes]) => {
    if (!known.has(name)) refuse("memoryMb", name, `one of ${FUNCTION_NAMES.join(", ")}`);
    return [
      name,
      inRange(`memoryMb.${name}`, megabytes, name === "compact" ? COMPACTION_MEMORY_MB : MEMORY_MB),
    ];
  });
  return Object.fromEntries(checked);
}

function refuseUnknown(context: Readonly<Record<string, unknown>>): void {
  const stray = Object.keys(context).find(
    (name) => OWN_NAME.test(name) && !SETTING_NAMES.includes(name),
  );
  if (stray === undefined) return;
  const near = closestOf(stray, SETTING_NAMES);
  const hint = near === undefined ? "" : ` (did you mean "${near}"?)`;
  throw new Error(
    `Cannot use the setting "${stray}": it is unknown${hint}, expected one of ${SETTING_NAMES.join(", ")}`,
  );
}

/**
 * Checks all settings in the app's context. Throws on one that is unknown, or whose value is out of
 * range, and names it.
 */
export function settingsOf(context: Readonly<Record<string, unknown>>): AppSettings {
  refuseUnknown(context);
  const given = (names: readonly string[]) =>
    names.flatMap((name) => {
      const value = context[name];
      return value === undefined ? [] : [[name, value] as const];
    });
  const texts = given(Object.keys(TEXTS)).map(([name, value]) => {
    const form = TEXTS[name as keyof typeof TEXTS];
    if (typeof value !== "string" || !form.test(value)) refuse(name, value, String(form));
    return [name, value];
  });
  const numbers = given(Object.keys(NUMBERS)).map(([name, value]) => [
    name,
    inRange(name, value, NUMBERS[name as keyof typeof NUMBERS]),
  ]);
  const flags = given(FLAGS).map(([name, value]) => [name, flagOf(name, value)]);
  const jsons = given(JSONS).map(([name, value]) => [name, jsonOf(name, value)]);
  const settings = Object.fromEntries([...texts, ...numbers, ...flags, ...jsons]);
  const { stackName = "Silt" } = Object.fromEntries(given(["stackName"]));
  if (typeof stackName !== "string" || !STACK_NAME.test(stackName)) {
    refuse("stackName", stackName, "letters, digits and dashes, a letter first");
  }
  checkCollections(settings);
  const days = settings.logRetentionDays;
  if (days !== undefined && RetentionDays[days] === undefined) {
    refuse(
      "logRetentionDays",
      days,
      "a number of days that CloudWatch offers: 1, 3, 5, 7, 14, 30 …",
    );
  }
  return {
    local: false,
    xenova: false,
    ...settings,
    stackName,
    ...(settings.memoryMb !== undefined && { memoryMb: memoryOf(settings.memoryMb) }),
  };
}
