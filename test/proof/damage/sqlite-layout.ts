/** Enough of SQLite's file format (sqlite.org/fileformat2.html) to aim at its structures. */

const HEADER_FIELDS: readonly (readonly [string, number])[] = [
  ["magic", 3],
  ["page size", 16],
  ["write version", 18],
  ["read version", 19],
  ["reserved bytes", 20],
  ["payload fraction", 21],
  ["change counter", 27],
  ["page count", 31],
  ["freelist", 35],
  ["schema cookie", 43],
  ["schema format", 47],
  ["cache size", 51],
  ["autovacuum", 55],
  ["text encoding", 59],
  ["user version", 63],
  ["incremental vacuum", 67],
  ["application id", 71],
  ["unused", 80],
  ["version-valid-for", 95],
  ["SQLite version", 99],
];

const PAGE_KINDS: ReadonlyMap<number, string> = new Map([
  [2, "index page"],
  [5, "table page"],
  [10, "index page"],
  [13, "table page"],
]);

export class SqliteFile {
  readonly pageBytes: number;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.pageBytes = bytes.readUInt16BE(16);
  }

  headerPlaces(): readonly (readonly [string, number])[] {
    return HEADER_FIELDS.map(([field, at]) => [`SQLite header: ${field}`, at] as const);
  }

  /** Page header, cell pointers, the content of a cell in three places, and what is free. */
  pagePlaces(number: number): readonly (readonly [string, number])[] {
    const start = number * this.pageBytes;
    const header = start + (number === 0 ? 100 : 0);
    const kind = PAGE_KINDS.get(this.#bytes[header] ?? 0);
    if (kind === undefined) return [["overflow or free page", start + 8]];
    const cells = this.#bytes.readUInt16BE(header + 3);
    const content = start + (this.#bytes.readUInt16BE(header + 5) || 65_536);
    const isInner = (this.#bytes[header] ?? 0) < 8;
    const pointers = header + (isInner ? 12 : 8);
    const free = pointers + cells * 2;
    const places: (readonly [string, number])[] = [
      [`${kind}: kind`, header],
      [`${kind}: cell count`, header + 4],
      [`${kind}: content start`, header + 6],
    ];
    if (cells > 0) {
      const end = start + this.pageBytes;
      places.push(
        [`${kind}: cell pointer`, pointers + 1],
        [`${kind}: cell`, content],
        [`${kind}: cell`, content + 4],
        [`${kind}: cell`, (content + end) >> 1],
        [`${kind}: cell`, end - 1],
      );
    }
    if (free + 8 < content) places.push([`${kind}: free bytes`, (free + content) >> 1]);
    return places;
  }
}
