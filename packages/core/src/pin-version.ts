/** Pins: somebody's hold on a version, which the collector respects. */
import { checkNote } from "./check-note.ts";
import type { Pin, VersionRef } from "./formats.ts";
import { findVersion, loadVersion, readHistory } from "./history.ts";
import type { Ports, ShardRef } from "./ports.ts";
import { SiltError } from "./silt-error.ts";

export interface PinOptions {
  /** Who holds it; unpinning needs the same name. */
  readonly owner: string;
  readonly reason: string;
}

/** Owners of pins that rollbacks hold: only the sweep lets them go. */
export const ROLLBACK_OWNER_PREFIX = "rollback-";

function checkOwner(action: string, owner: string): void {
  checkNote(action, "owner", owner);
  const isOurs = owner.startsWith(ROLLBACK_OWNER_PREFIX);
  if (owner !== "" && !isOurs) return;
  const state = isOurs
    ? `names of pins that rollbacks hold begin with "${ROLLBACK_OWNER_PREFIX}"; "silt sweep" lets those go`
    : "its owner is empty, expected a name";
  throw new SiltError("invalid", `Cannot ${action}: ${state}`);
}

/** Holds a version until {@link unpinVersion}. Throws `invalid` when it is not there, `conflict` when it just went. */
export async function pinVersion(
  ports: Ports,
  shard: ShardRef,
  version: number,
  { owner, reason }: PinOptions,
): Promise<VersionRef> {
  const action = `pin version ${version} of "${shard.collection}"`;
  checkOwner(action, owner);
  checkNote(action, "reason", reason);
  const { ref } = findVersion(shard, await readHistory(ports, shard), version);
  const pinnedAt = new Date(ports.clock.nowMs()).toISOString();
  await holdVersion(ports, shard, ref, { owner, reason, pinnedAt, baseVersion: null });
  return ref;
}

/** Pins a version that was read a moment ago; throws `conflict` when the collector was faster. */
export async function holdVersion(
  ports: Pick<Ports, "log" | "objects">,
  shard: ShardRef,
  ref: VersionRef,
  pin: Pin,
): Promise<void> {
  const pinned = await ports.log.pinVersion(shard, ref, pin);
  if (pinned.outcome === "pinned" && (await loadVersion(ports.objects, ref)) !== undefined) return;
  throw new SiltError(
    "conflict",
    `Cannot hold version ${ref.version} of "${shard.collection}" ${shard.shard}: the collector has just given it up; choose another`,
  );
}

/** Lets a version go. Throws `invalid` when the owner does not hold it. */
export async function unpinVersion(
  ports: Ports,
  shard: ShardRef,
  version: number,
  owner: string,
): Promise<void> {
  checkOwner(`unpin version ${version} of "${shard.collection}"`, owner);
  const { ref, pins } = findVersion(shard, await readHistory(ports, shard), version);
  if (!pins.some((pin) => pin.owner === owner)) {
    const owners = pins.map((pin) => `"${pin.owner}"`).join(", ");
    throw new SiltError(
      "invalid",
      `Cannot unpin version ${version} of "${shard.collection}" ${shard.shard}: "${owner}" does not hold it, ${owners === "" ? "nobody does" : `${owners} does`}`,
    );
  }
  await ports.log.unpinVersion(shard, ref, owner);
}
