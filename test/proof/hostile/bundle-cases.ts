/** Hostile tars and manifests around a sound SQLite file. */
import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";
import { canonicalJson } from "@silt/core";
import {
  bundleOf,
  type TarEntry,
  tarEntry,
  tarOf,
} from "../../../packages/segment/src/hostile-bundle.fixture.ts";
import { type ForgedBundle, jsonMember, type SoundDelta, sqliteMember } from "./forge-delta.ts";

/** `says`: a phrase of the reason; `accepted`: legal, and read exactly. */
export interface BundleCase {
  readonly name: string;
  readonly make: (sound: SoundDelta) => ForgedBundle;
  readonly says: RegExp | "accepted";
}

type Members = (json: TarEntry, sqlite: TarEntry) => Buffer;

const tarCase = (name: string, says: BundleCase["says"], members: Members): BundleCase => ({
  name: `tar: ${name}`,
  says,
  make: ({ manifest, sqlite }) => ({
    tar: members(jsonMember(manifest), sqliteMember(sqlite)),
    manifest,
  }),
});

const text = (name: string, body: string, type = "0"): TarEntry => ({
  name,
  type,
  body: Buffer.from(body),
});

/** The second member with something changed. */
const second = (name: string, says: BundleCase["says"], change: Partial<TarEntry>): BundleCase =>
  tarCase(name, says, (json, sqlite) => tarOf(json, { ...sqlite, ...change }));

/** The second member announced with a size that it does not have. */
const announced = (name: string, says: RegExp, change: Partial<TarEntry>): BundleCase =>
  tarCase(name, says, (json) =>
    Buffer.concat([tarEntry(json), tarEntry({ name: "delta.sqlite", ...change })]),
  );

/** A sound tar of which bytes of the second header are changed, its checksum made right again. */
const header = (name: string, says: BundleCase["says"], at: number, bytes: string): BundleCase =>
  tarCase(name, says, (json, sqlite) => {
    const first = tarEntry(json);
    const tar = tarOf(json, sqlite);
    const block = tar.subarray(first.byteLength, first.byteLength + 512);
    block.write(bytes, at, "latin1");
    block.write("        ", 148);
    const sum = block.reduce((total, byte) => total + byte, 0);
    block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    return tar;
  });

const MEBIBYTE = 1024 * 1024;

const NAMES: readonly BundleCase[] = [
  tarCase("traversal before all", /does not begin with delta\.json/, (json, sqlite) =>
    tarOf(text("../../../canary/secret.txt", "x"), json, sqlite),
  ),
  second("traversal", /File "\.\.\/\.\.\/\.\.\/canary\/x"/, { name: "../../../canary/x" }),
  second("traversal by prefix", /File "\.\.\/\.\.\/delta\.sqlite"/, { prefix: "../.." }),
  second("absolute path", /File "\/tmp\/delta\.sqlite"/, { name: "/tmp/delta.sqlite" }),
  second("a dot before the name", /File "\.\/delta\.sqlite"/, { name: "./delta.sqlite" }),
  second("a slash after the name", /Directory "delta\.sqlite\/"/, { name: "delta.sqlite/" }),
  second("upper case", /File "DELTA\.SQLITE"/, { name: "DELTA.SQLITE" }),
  second("a letter of another script", /expected the file delta\.sqlite/, {
    name: "delta.sqlit\u0435",
  }),
  second("a backslash", /expected the file delta\.sqlite/, { name: "..\\delta.sqlite" }),
  second("no name", /no sound tar|expected the file/, { name: "" }),
  second("a name that hides behind a zero byte", "accepted", { name: "delta.sqlite\0/../x" }),
  second("escape sequences in the name", /expected the file delta\.sqlite/, {
    name: "\u001b[2Jdelta.sqlite",
  }),
];

const SECRET = "../../../canary/secret.txt";

const KINDS: readonly BundleCase[] = (
  [
    ["hard link", "1", /has a Link/],
    ["symbolic link", "2", /has a SymbolicLink/],
    ["character device", "3", /has a CharacterDevice/],
    ["block device", "4", /has a BlockDevice/],
    ["folder", "5", /Directory/],
    ["pipe", "6", /has a FIFO/],
    ["contiguous file", "7", /has a ContiguousFile/],
    ["sparse file", "S", /has a SparseFile|GNUDumpDir|expected the file/],
    ["dump folder of GNU tar", "D", /no sound tar/],
    ["volume header", "V", /no sound tar/],
    ["continued file", "M", /no sound tar/],
    ["unknown kind", "Z", /no sound tar/],
    ["old kind of file", "\0", "accepted"],
  ] as const
).map(([name, type, says]) =>
  second(name, says, { type, link: type === "1" || type === "2" ? SECRET : "" }),
);

const HEADERS: readonly BundleCase[] = [
  tarCase("pax header that renames", /extended header/, (json, sqlite) =>
    tarOf(json, text("pax", "22 path=../../evil.db\n", "x"), sqlite),
  ),
  tarCase("pax header that sets a size", /extended header/, (json, sqlite) =>
    tarOf(json, text("pax", "20 size=99999999999\n", "x"), sqlite),
  ),
  tarCase("global pax header", /extended header/, (json, sqlite) =>
    tarOf(text("delta.json", "23 linkpath=/etc/shadow\n", "g"), json, sqlite),
  ),
  tarCase("pax header of a megabyte", /extended header|no sound tar/, (json, sqlite) =>
    tarOf(json, text("pax", `9 path=${"x".repeat(MEBIBYTE)}\n`, "x"), sqlite),
  ),
  tarCase("long name of GNU tar", /extended header/, (json, sqlite) =>
    tarOf(json, text("././@LongLink", "../../evil\0", "L"), sqlite),
  ),
  tarCase("long link of GNU tar", /extended header/, (json, sqlite) =>
    tarOf(json, text("././@LongLink", "/etc/shadow\0", "K"), sqlite),
  ),
  tarCase("damaged checksum", /no sound tar/, (json, sqlite) => {
    const tar = tarOf(json, sqlite);
    tar[148] = 0x39;
    return tar;
  }),
  header("setuid, other owner", "accepted", 100, "0007777\0"),
  header("names with escape sequences", "accepted", 265, "\x1b[2Jroot\0"),
  header("a link in a file that is none", /linkpath forbidden/, 157, "/etc/shadow\0"),
  header("no magic, as in the oldest tars", "accepted", 257, "\0\0\0\0\0\0"),
  announced("size of 8 GiB", /delta\.sqlite has 8589934591 bytes/, { size: 8 ** 11 - 1 }),
  announced("size in base 256", /no sound tar|bytes, at most/, {
    rawSize: Buffer.from("80000000000fffffffffffff", "hex"),
  }),
  announced("negative size", /no sound tar|does not match/, { rawSize: Buffer.alloc(12, 0xff) }),
  announced("size that is no number", /no sound tar|does not match/, {
    rawSize: Buffer.from("zzzzzzzzzzz\0"),
  }),
  announced("size beyond octal digits", /no sound tar|does not match|at most/, {
    rawSize: Buffer.from("777777777777"),
  }),
  announced("no size", /no sound tar|does not match/, { rawSize: Buffer.alloc(12) }),
];

const SHAPES: readonly BundleCase[] = [
  tarCase("other order", /does not begin with delta\.json/, (json, sqlite) => tarOf(sqlite, json)),
  tarCase("first name twice", /File "delta\.json"/, (json, sqlite) => tarOf(json, json, sqlite)),
  tarCase("second name twice", /File "delta\.sqlite"|longer/, (json, sqlite) =>
    tarOf(json, sqlite, sqlite),
  ),
  tarCase("a third file", /File "more"/, (json, sqlite) => tarOf(json, sqlite, text("more", "x"))),
  tarCase("no SQLite file", /holds 1 files/, (json) => tarOf(json)),
  tarCase("nothing", /does not begin/, () => tarOf()),
  tarCase("one byte", /does not begin/, () => Buffer.from("x")),
  tarCase("an empty SQLite file", /does not match/, (json) =>
    tarOf(json, { name: "delta.sqlite" }),
  ),
  tarCase("an empty manifest", /not JSON/, (_, sqlite) => tarOf({ name: "delta.json" }, sqlite)),
  tarCase("a manifest of 70 KB", /delta\.json has 70000 bytes/, (_, sqlite) =>
    tarOf(text("delta.json", " ".repeat(70_000)), sqlite),
  ),
  tarCase("gzip", /does not begin/, (json, sqlite) => gzipSync(tarOf(json, sqlite))),
  tarCase("brotli", /does not begin/, (json, sqlite) => brotliCompressSync(tarOf(json, sqlite))),
  tarCase("zstd", /does not begin/, (json, sqlite) => zstdCompressSync(tarOf(json, sqlite))),
  tarCase("a bomb of 64 MiB in gzip", /does not begin/, (json) =>
    gzipSync(tarOf(json, { name: "delta.sqlite", body: Buffer.alloc(64 * MEBIBYTE) })),
  ),
  tarCase("a megabyte of zeros behind", /much longer/, (json, sqlite) =>
    Buffer.concat([tarOf(json, sqlite), Buffer.alloc(MEBIBYTE)]),
  ),
  tarCase("rubbish behind the end", /what follows its files is not zero/, (json, sqlite) =>
    Buffer.concat([tarOf(json, sqlite), Buffer.from("rubbish".repeat(100))]),
  ),
  tarCase("a file behind the end", /what follows its files is not zero/, (json, sqlite) =>
    Buffer.concat([tarOf(json, sqlite), tarOf(text("../../evil", "x"))]),
  ),
  tarCase("no end", "accepted", (json, sqlite) => tarOf(json, sqlite).subarray(0, -1_024)),
  tarCase("cut in the middle", /no sound tar|does not match/, (json, sqlite) =>
    tarOf(json, sqlite).subarray(0, 40_000),
  ),
];

const jsonCase = (
  name: string,
  says: BundleCase["says"],
  change: (json: string, manifest: SoundDelta["manifest"]) => string | Uint8Array,
): BundleCase => ({
  name: `manifest: ${name}`,
  says,
  make: ({ manifest, sqlite }) => {
    const body = Buffer.from(change(canonicalJson(manifest), manifest) as string);
    return { tar: tarOf({ name: "delta.json", body }, sqliteMember(sqlite)), manifest };
  },
});
const member = (name: string, says: BundleCase["says"], change: object): BundleCase => ({
  name: `manifest: ${name}`,
  says,
  make: ({ manifest, sqlite }) => ({ tar: bundleOf({ ...manifest, ...change }, sqlite), manifest }),
});
const more = (json: string, members: string) => json.replace(/}$/, `,${members}}`);

const MANIFESTS: readonly BundleCase[] = [
  jsonCase("byte order mark", /not JSON/, (json) => `\ufeff${json}`),
  jsonCase("UTF-16", /not JSON/, (json) => Buffer.from(json, "utf16le")),
  jsonCase("zero byte", /not JSON/, (json) => json.replace("delta", "de\0lta")),
  jsonCase("20,000 lists in each other", "accepted", (json) =>
    more(json, `"x":${"[".repeat(20_000)}${"]".repeat(20_000)}`),
  ),
  jsonCase("prototype keys", "accepted", (json) =>
    more(json, '"__proto__":{"format":2},"constructor":{"prototype":{"x":1}}'),
  ),
  jsonCase("a member twice, the last one true", "accepted", (json) =>
    json.replace('"format":1', '"format":9,"format":1'),
  ),
  jsonCase("a member twice, the last one false", /Cannot read delta\.json/, (json) =>
    more(json, '"format":9'),
  ),
  jsonCase("a number without end", /Cannot read delta\.json/, (json) =>
    json.replace(/"replaced":\d+/, '"replaced":1e999'),
  ),
  jsonCase("a list", /Cannot read delta\.json/, () => "[]"),
  jsonCase("a text", /Cannot read delta\.json/, () => '"delta"'),
  jsonCase("30,000 vector fields", /Cannot read delta\.json.*Too big/s, (json) =>
    json.replace('"vectors":[', `"vectors":[${"0,".repeat(30_000)}`),
  ),
  member("unknown format", /Cannot read delta\.json/, { format: 2 }),
  member("another kind", /Cannot read delta\.json/, { kind: "snapshot" }),
  member("another collection", /belongs to another/, { collection: "words" }),
  member("another shard", /belongs to another/, { shard: "1-of-2" }),
  member("another store", /belongs to another/, { storeId: "store0000009" }),
  member("another run", /belongs to another/, { runId: "019b7684-0000-7000-8000-00000000ffff" }),
  member("negative counts", /Cannot read delta\.json/, { rows: { put: -1, patch: 0, delete: 0 } }),
  member("other counts", /manifest counts/, { rows: { put: 3, patch: 0, delete: 0 } }),
  member("other sums", /manifest counts/, { sums: { v: "0".repeat(32), t: "0".repeat(32) } }),
  member("sums that are no digits", /Cannot read delta\.json/, { sums: { v: "x", t: "" } }),
  member("a SQLite file of another name", /Cannot read delta\.json/, {
    sqlite: { name: "../../x", bytes: 1, sha256: "0".repeat(64) },
  }),
  member("another hash", /length and hash/, {
    sqlite: { name: "delta.sqlite", bytes: 1, sha256: "0".repeat(64) },
  }),
];

export const BUNDLE_CASES: readonly BundleCase[] = [
  ...NAMES,
  ...KINDS,
  ...HEADERS,
  ...SHAPES,
  ...MANIFESTS,
];
