/** What the run log knows of versions that were pinned or retired, in SQLite. */
import {
  canonicalJson,
  newVersionItem,
  type Pin,
  parseVersionItem,
  type RunLog,
  type ShardRef,
  SiltError,
  shardPartition,
  type VersionItem,
  type VersionKey,
  type VersionRef,
} from "@silt/core";
import type { SqliteConnection } from "./sqlite-connection.ts";

type VersionItems = Pick<RunLog, "pinVersion" | "unpinVersion" | "retireVersion" | "listVersions">;

/** The methods of a RunLog that are about versions; each is one transaction. */
export function createSqliteVersionItems(db: SqliteConnection): VersionItems {
  return {
    pinVersion: (shard, version, pin) =>
      db.write("pin a version", () => holdVersion(db, shard, version, pin)),
    unpinVersion: (shard, key, owner) =>
      db.write("unpin a version", () => {
        const item = itemOf(db, shard, key);
        if (item === undefined) return;
        store(db, shard, { ...item, pins: item.pins.filter((pin) => pin.owner !== owner) });
      }),
    retireVersion: (shard, { version, commitId }) =>
      db.write("retire a version", () => {
        const key = { version, commitId };
        const item = itemOf(db, shard, key) ?? newVersionItem(key);
        if (item.pins.length > 0) return { outcome: "pinned" };
        store(db, shard, { ...item, retired: true });
        return { outcome: "retired" };
      }),
    listVersions: (shard, { after, limit }) =>
      db.read("list versions", () => {
        const rows = db.all<ItemRow>(
          "SELECT version, commit_id, item FROM sound_versions WHERE partition = ? AND (version, commit_id) > (?, ?) " +
            "ORDER BY version, commit_id LIMIT ?",
          shardPartition(shard),
          after?.version ?? -1,
          after?.commitId ?? "",
          limit,
        );
        return rows.map((row) => parseRow(shard, row));
      }),
  };
}

function holdVersion(
  db: SqliteConnection,
  shard: ShardRef,
  { version, commitId, manifest }: VersionRef,
  pin: Pin,
): { readonly outcome: "pinned" | "retired" } {
  const key = { version, commitId };
  const item = itemOf(db, shard, key) ?? newVersionItem(key);
  if (item.retired) return { outcome: "retired" };
  const held = item.pins.some(({ owner }) => owner === pin.owner);
  store(db, shard, { ...item, manifest, pins: held ? item.pins : [...item.pins, pin] });
  return { outcome: "pinned" };
}

interface ItemRow {
  readonly version: number;
  readonly commit_id: string;
  readonly item: string;
}

function itemOf(
  db: SqliteConnection,
  shard: ShardRef,
  { version, commitId }: VersionKey,
): VersionItem | undefined {
  const row = db.get<ItemRow>(
    "SELECT version, commit_id, item FROM sound_versions WHERE partition = ? AND version = ? AND commit_id = ?",
    shardPartition(shard),
    version,
    commitId,
  );
  return row && parseRow(shard, row);
}

function parseRow(shard: ShardRef, { version, commit_id, item }: ItemRow): VersionItem {
  const what = `the item of version ${version} of "${shardPartition(shard)}"`;
  const parsed = parseVersionItem(Buffer.from(item), what);
  if (parsed.version === version && parsed.commitId === commit_id) return parsed;
  throw new SiltError(
    "corrupt",
    `Cannot read ${what}: it says that it is of version ${parsed.version}, commit "${parsed.commitId}"`,
  );
}

function store(db: SqliteConnection, shard: ShardRef, item: VersionItem): void {
  db.run(
    "INSERT INTO versions (partition, version, commit_id, item) VALUES (?, ?, ?, ?) " +
      "ON CONFLICT (partition, version, commit_id) DO UPDATE SET item = excluded.item",
    shardPartition(shard),
    item.version,
    item.commitId,
    canonicalJson(item),
  );
}
