/** What the run log knows of versions that were pinned or retired, in SQLite. */
import {
  canonicalJson,
  parseVersionItem,
  pinItem,
  type RunLog,
  retireItem,
  type ShardRef,
  SiltError,
  shardPartition,
  unpinItem,
  type VersionItem,
  type VersionItemChange,
  type VersionKey,
} from "@silt/core";
import type { SqliteConnection } from "./sqlite-connection.ts";

type VersionItems = Pick<RunLog, "pinVersion" | "unpinVersion" | "retireVersion" | "listVersions">;

/** The methods of a RunLog that are about versions; each is one transaction. */
export function createSqliteVersionItems(db: SqliteConnection): VersionItems {
  return {
    pinVersion: (shard, version, pin) =>
      change(db, shard, version, "pin a version", (item) => pinItem(item, version, pin)),
    unpinVersion: (shard, key, owner) =>
      change(db, shard, key, "unpin a version", (item) => unpinItem(item, owner)),
    retireVersion: (shard, key) =>
      change(db, shard, key, "retire a version", (item) => retireItem(item, key)),
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

function change<Answer>(
  db: SqliteConnection,
  shard: ShardRef,
  key: VersionKey,
  action: string,
  decide: (found: VersionItem | undefined) => VersionItemChange<Answer>,
): Promise<Answer> {
  return db.write(action, () => {
    const { answer, item } = decide(itemOf(db, shard, key));
    if (item !== undefined) store(db, shard, item);
    return answer;
  });
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
