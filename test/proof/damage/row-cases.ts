/** Every damage of the rows of one table of the log. */
import { rmSync, writeFileSync } from "node:fs";
import type { SeededRandom } from "@silt/testkit";
import type { Damage, DamageCase } from "./damage-case.ts";
import { structuresOf } from "./file-structures.ts";
import { editUnseen, type LogRow, rowsOf, type SqlValue } from "./log-rows.ts";

export interface DamagedTable {
  /** The path of the database. */
  readonly log: string;
  readonly olderLog: Uint8Array | undefined;
  readonly table: string;
  readonly key: readonly string[];
  /** The column that holds canonical JSON. */
  readonly json?: string;
}

export function rowCases(
  table: DamagedTable,
  random: SeededRandom,
  places: number,
): readonly DamageCase[] {
  const rows = rowsOf(table.log, table.table).filter(isDamaged);
  const cells = rows.flatMap((row) =>
    Object.keys(row).map((column) => ({ row, column, bytes: bytesOf(row[column]) })),
  );
  const everywhere = cells.flatMap((cell) => [...cell.bytes.keys()].map((at) => ({ cell, at })));
  const bits = Array.from({ length: places }, () => {
    const { cell, at } = random.pick(everywhere);
    return bitCase(table, "one bit, anywhere", cell, at, random.int(8));
  });
  const picked = new Set([rows[0], rows[rows.length >> 1], rows.at(-1)]);
  const some = cells.filter(({ row }) => picked.has(row));
  const aimed = some.flatMap((cell) => aimedBits(table, cell));
  return [
    ...bits,
    ...aimed,
    ...some.flatMap((cell) => valueCases(table, cell)),
    ...wholeRows(table, rows, picked),
  ];
}

/** Rows of the rest of the store stay as they are: it must go on. */
const isDamaged = ({ partition }: LogRow): boolean => !String(partition).startsWith("words/");

interface Cell {
  readonly row: LogRow;
  readonly column: string;
  readonly bytes: Buffer;
}

/** A number is its eight bytes. */
function bytesOf(value: SqlValue | undefined): Buffer {
  if (value === null || value === undefined) return Buffer.alloc(0);
  if (typeof value === "bigint" || typeof value === "number") {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64BE(BigInt(value));
    return bytes;
  }
  return Buffer.from(value as string);
}

/** The value of changed bytes, of the type that it had. */
function typedAs(before: SqlValue | undefined, bytes: Buffer): SqlValue {
  return typeof before === "bigint" ? bytes.readBigInt64BE() : bytes;
}

const nameOf = ({ row, column }: Cell): string =>
  `${column} of ${Object.values(row).slice(0, 2).map(String).join(" ").slice(-24)}`;

/** A case that writes another value into a cell. */
function cellCase(
  table: DamagedTable,
  damage: Damage,
  cell: Cell,
  what: string,
  value: () => SqlValue,
): DamageCase {
  const { row, column } = cell;
  const isText = typeof row[column] === "string";
  return {
    damage,
    where: `${nameOf(cell)}: ${what}`,
    apply: () =>
      editUnseen(table.log, (db) => {
        const written = value();
        const as = isText && Buffer.isBuffer(written) ? "CAST(? AS TEXT)" : "?";
        const where = table.key.map((key) => `${key} = ?`).join(" AND ");
        db.prepare(`UPDATE OR REPLACE ${table.table} SET ${column} = ${as} WHERE ${where}`).run(
          written,
          ...table.key.map((key) => row[key]),
        );
      }),
  };
}

function bitCase(
  table: DamagedTable,
  damage: Damage,
  cell: Cell,
  at: number,
  bit: number,
): DamageCase {
  return cellCase(table, damage, cell, `byte ${at}, bit ${bit}`, () => {
    const bytes = Buffer.from(cell.bytes);
    bytes[at] = (bytes[at] as number) ^ (1 << bit);
    return typedAs(cell.row[cell.column], bytes);
  });
}

function aimedBits(table: DamagedTable, cell: Cell): readonly DamageCase[] {
  const { bytes, column } = cell;
  if (bytes.length === 0) return [];
  const ends = [0, bytes.length - 1];
  const inside =
    column === table.json ? structuresOf("json", bytes).places.map(([, at]) => at) : ends;
  return inside.map((at) => bitCase(table, "one bit, aimed", cell, at, 0));
}

function valueCases(table: DamagedTable, cell: Cell): readonly DamageCase[] {
  const before = cell.row[cell.column];
  const { bytes } = cell;
  const make = (damage: Damage, what: string, value: () => SqlValue) =>
    cellCase(table, damage, cell, what, value);
  const wrongType = make("unreadable", "a BLOB", () => Buffer.from([1, 2, 3]));
  if (typeof before === "bigint") {
    return [
      make("grown", "one more", () => before + 1n),
      ...(before === 0n ? [] : [make("zeroed page", "0", () => 0n)]),
      // SQLite itself keeps anything but numbers from a rowid.
      ...(cell.column === "hint" ? [] : [wrongType]),
    ];
  }
  if (bytes.length === 0) return [wrongType];
  return [
    ...[0, bytes.length >> 1, bytes.length - 1].map((length) =>
      make("cut", `${length} bytes`, () => bytes.subarray(0, length)),
    ),
    make("grown", "one byte more", () => Buffer.concat([bytes, Buffer.from("x")])),
    make("zeroed page", "zeros", () => Buffer.alloc(bytes.length)),
    wrongType,
  ];
}

function wholeRows(
  table: DamagedTable,
  rows: readonly LogRow[],
  picked: ReadonlySet<LogRow | undefined>,
): readonly DamageCase[] {
  const older = olderRows(table);
  return rows.flatMap((row, index) => {
    if (!picked.has(row)) return [];
    const name = table.key
      .map((key) => String(row[key]))
      .join(" ")
      .slice(-40);
    const other = rows[(index + 1) % rows.length] as LogRow;
    const before = older.find((each) => table.key.every((key) => each[key] === row[key]));
    const differs = before !== undefined && textOf(before) !== textOf(row);
    return [
      rowCase(table, "gone", name, row, undefined),
      rowCase(table, "twice", name, undefined, copyOf(table, row)),
      ...(rows.length > 1
        ? [rowCase(table, "another of its kind", name, row, mixed(table, row, other))]
        : []),
      ...(differs ? [rowCase(table, "older version", name, row, before)] : []),
    ];
  });
}

const textOf = (row: LogRow): string => Object.values(row).map(String).join("\n");

function olderRows({ log, olderLog, table }: DamagedTable): readonly LogRow[] {
  if (olderLog === undefined) return [];
  const path = `${log}.older`;
  writeFileSync(path, olderLog);
  const rows = rowsOf(path, table);
  for (const suffix of ["", "-wal", "-shm"]) rmSync(path + suffix, { force: true });
  return rows;
}

/** Everything of another row under the key of this one. */
const mixed = ({ key }: DamagedTable, row: LogRow, other: LogRow): LogRow => ({
  ...other,
  ...Object.fromEntries(key.map((column) => [column, row[column] as SqlValue])),
});

/** The row once more under a key that is free. */
function copyOf({ key }: DamagedTable, row: LogRow): LogRow {
  const last = key.at(-1) as string;
  const value = row[last];
  const free = typeof value === "bigint" ? value + 100n : `${value}x`;
  return { ...row, [last]: free };
}

/** A row less, a row more, or both. */
function rowCase(
  { log, table, key }: DamagedTable,
  damage: Damage,
  where: string,
  remove: LogRow | undefined,
  insert: LogRow | undefined,
): DamageCase {
  return {
    damage,
    where,
    apply: () =>
      editUnseen(log, (db) => {
        if (remove !== undefined) {
          const same = key.map((column) => `${column} = ?`).join(" AND ");
          db.prepare(`DELETE FROM ${table} WHERE ${same}`).run(
            ...key.map((column) => remove[column]),
          );
        }
        if (insert === undefined) return;
        const columns = Object.keys(insert);
        const marks = columns.map(() => "?").join(", ");
        db.prepare(`INSERT OR REPLACE INTO ${table} (${columns.join(", ")}) VALUES (${marks})`).run(
          ...Object.values(insert),
        );
      }),
  };
}
