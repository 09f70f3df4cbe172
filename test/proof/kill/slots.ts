/** Who works on the store of the kill tests. */
import type { Role } from "./role-context.ts";
import { bufferRole } from "./roles/buffer-role.ts";
import { collectRole } from "./roles/collect-role.ts";
import { compactRole } from "./roles/compact-role.ts";
import { exportRole } from "./roles/export-role.ts";
import { historyRole } from "./roles/history-role.ts";
import { ingestRole } from "./roles/ingest-role.ts";
import { readRole } from "./roles/read-role.ts";
import { verifyRole } from "./roles/verify-role.ts";
import { writeRole } from "./roles/write-role.ts";

/** Each in a process of its own. */
export const ROLES = {
  write: writeRole,
  buffer: bufferRole,
  ingest: ingestRole,
  compact: compactRole,
  history: historyRole,
  collect: collectRole,
  read: readRole,
  verify: verifyRole,
  export: exportRole,
} as const satisfies Readonly<Record<string, Role>>;
export type RoleName = keyof typeof ROLES;

/** Something that is alive at most once at a time, killed, and started again. */
export interface Slot {
  readonly name: string;
  readonly role: RoleName | "command" | "command-write";
  /** How often it is chosen. */
  readonly weight: number;
  /** Of a command: what follows `silt`. */
  readonly args?: readonly string[];
}

export const SLOTS: readonly Slot[] = [
  { name: "write-0", role: "write", weight: 3 },
  { name: "write-1", role: "write", weight: 3 },
  { name: "buffer-0", role: "buffer", weight: 2 },
  { name: "buffer-1", role: "buffer", weight: 2 },
  { name: "ingest-0", role: "ingest", weight: 2 },
  { name: "compact-0", role: "compact", weight: 4 },
  { name: "compact-1", role: "compact", weight: 4 },
  { name: "history-0", role: "history", weight: 3 },
  { name: "collect-0", role: "collect", weight: 2 },
  { name: "collect-1", role: "collect", weight: 2 },
  { name: "read-0", role: "read", weight: 2 },
  { name: "read-lasting", role: "read", weight: 0 },
  { name: "verify-0", role: "verify", weight: 1 },
  { name: "export-0", role: "export", weight: 1 },
  { name: "silt-write", role: "command-write", weight: 2 },
  { name: "silt-compact", role: "command", weight: 1, args: ["compact"] },
  { name: "silt-gc", role: "command", weight: 1, args: ["gc", "--delete"] },
  { name: "silt-sweep", role: "command", weight: 1, args: ["sweep"] },
  { name: "silt-verify", role: "command", weight: 1, args: ["verify"] },
];

/** Those whose operations are noted in journals. */
export const writingSlots = (): readonly string[] =>
  SLOTS.filter(({ role }) => ["write", "buffer", "command-write"].includes(role)).map(
    ({ name }) => name,
  );
