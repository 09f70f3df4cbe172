import type { Hint, HintQueue } from "@silt/core";
import type { SqliteConnection } from "./sqlite-connection.ts";

interface HintRow {
  readonly hint: number;
  readonly collection: string;
  readonly store_id: string;
  readonly shard: string;
}

/** Hints as rows, at most one a shard; receiving takes them off. */
export function createSqliteHintQueue(connection: SqliteConnection): HintQueue {
  return {
    async send({ collection, storeId, shard }) {
      await connection.write("send a hint", () =>
        connection.run(
          "INSERT INTO hints (collection, store_id, shard) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
          collection,
          storeId,
          shard,
        ),
      );
    },
    receive(limit) {
      return connection.write("receive hints", (): readonly Hint[] => {
        const rows = connection.all<HintRow>("SELECT * FROM hints ORDER BY hint LIMIT ?", limit);
        for (const row of rows) connection.run("DELETE FROM hints WHERE hint = ?", row.hint);
        return rows.map(({ collection, store_id, shard }) => ({
          collection,
          storeId: store_id,
          shard,
        }));
      });
    },
  };
}
