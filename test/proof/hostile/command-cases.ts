/** Hostile JSON Lines, filters, vectors and arguments, as a shell would give them to the command. */

export interface CommandCase {
  readonly name: string;
  readonly args: readonly string[];
  readonly input: string | Uint8Array;
  /** A phrase of the one line on standard error; exit code 2. `accepted`: exit code 0. */
  readonly says: RegExp | "accepted";
}

const deep = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
const keys = (count: number) =>
  `{${Array.from({ length: count }, (_, index) => `"k${index}":1`).join(",")}}`;
const GOOD = '{"id": "n", "embedding": [1, 0]}';

const put = (
  name: string,
  input: string | Uint8Array,
  says: CommandCase["says"],
  args: readonly string[] = ["put", "inbox"],
): CommandCase => ({ name: `JSON Lines: ${name}`, args, input, says });

/** A line of which one member is changed. */
const line = (name: string, members: string, says: CommandCase["says"]): CommandCase =>
  put(name, `${GOOD}\n{"id": "m", "embedding": [0, 1], ${members}}\n`, says);

const LINES: readonly CommandCase[] = [
  put("no newline at the end", GOOD, "accepted"),
  put("CRLF", `${GOOD}\r\n${GOOD}\r\n`, "accepted"),
  put("a byte order mark", `\ufeff${GOOD}`, "accepted"),
  put("blank lines", `\n\n  \n${GOOD}\n\n`, "accepted"),
  put("nothing", "", "accepted"),
  put("a zero byte", `${GOOD}\n\0`, /line 2: .*not JSON/),
  put("zeros", new Uint8Array(1_000_000), /line 1: .*not JSON/),
  put("UTF-16", Buffer.from(GOOD, "utf16le"), /line 1: .*not (JSON|UTF-8)/),
  put("Latin-1", Buffer.from('{"id": "\xe4"}', "latin1"), /line 1: .*not UTF-8/),
  put("half a surrogate pair as bytes", Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), /not UTF-8/),
  put("gzip", Buffer.from([0x1f, 0x8b, 8, 0, 0, 0]), /not (JSON|UTF-8)/),
  put("a line of 9 MB", "x".repeat(9 * 1024 * 1024), /line 1: it is over 8388608 bytes/),
  put("escape sequences", "\u001b[2J\u001b]0;evil\u0007", /line 1: .*not JSON/),
  put("200,000 lists in each other", deep(200_000), /line 1: .*not an object/),
  put("200,000 open lists", "[".repeat(200_000), /line 1: .*not JSON/),
  put("100,000 keys", keys(100_000), /unknown key "k0"/),
  put("a list of records", `[${GOOD}]`, /line 1: .*not an object/),
  put(
    "__proto__ as a member",
    '{"__proto__": {"id": "x"}, "embedding": [1, 0]}',
    /unknown key "__proto__"/,
  ),
  put("constructor as a member", '{"id": "x", "constructor": 1}', /unknown key "constructor"/),
  put(
    "the id twice, the last one counts",
    '{"id": "q", "id": "r", "embedding": [1, 0]}',
    "accepted",
  ),
  line("deep metadata", `"metadata": {"a": ${deep(100_000)}}`, /line 2: .*not flat/),
  line("metadata that are a list", `"metadata": ${deep(1)}`, /line 2: .*not an object/),
  line("metadata with 200,000 keys", `"metadata": ${keys(200_000)}`, /line 2: .*over 64 KiB/),
  line(
    "prototype keys in metadata",
    '"metadata": {"__proto__": "a", "constructor": 1, "toString": true}',
    "accepted",
  ),
  line(
    "prototype keys with objects",
    '"metadata": {"__proto__": {"admin": true}}',
    /"__proto__" is not flat/,
  ),
  line("a metadata key twice", '"metadata": {"a": 1, "a": 2}', "accepted"),
  line("a huge number", `"metadata": {"a": 1${"0".repeat(400)}}`, /not a finite number/),
  line(
    "a number with a million digits",
    `"metadata": {"a": 0.${"1".repeat(1_000_000)}}`,
    "accepted",
  ),
  line("half a surrogate pair in metadata", '"metadata": {"a": "\\ud800"}', /unpaired surrogate/),
  line("half a surrogate pair in a key", '"metadata": {"\\udfff": 1}', /key that is not text/),
  line("a zero byte in metadata", '"metadata": {"a": "\\u0000"}', /zero byte/),
  line("a deep document", `"document": ${deep(100_000)}`, /"document" is not a string/),
  line("half a surrogate pair in a document", '"document": "\\udc00"', /unpaired surrogate/),
  line("a document of 2 MB", `"document": "${"x".repeat(2_000_000)}"`, /over 1 MiB/),
  line("SQL as a document", `"document": "'); DROP TABLE rows; --"`, "accepted"),
  line("a parent that is an object", '"parent": {"toString": 1}', /"parent" is not a string/),
  put("SQL as an id", `{"id": "a'; DROP TABLE rows; --", "embedding": [1, 0]}`, "accepted"),
  put("a path as an id", '{"id": "../../../canary/secret.txt", "embedding": [1, 0]}', "accepted"),
  put(
    "__proto__ as an id",
    '{"id": "__proto__", "parent": "constructor", "embedding": [1, 0]}',
    "accepted",
  ),
  put("a deep vector", `{"id": "v", "embedding": ${deep(100_000)}}`, /1 dimensions|not a number/),
  put(
    "a vector of 500,000",
    `{"id": "v", "embedding": [${"1,".repeat(500_000)}1]}`,
    /500001 dimensions/,
  ),
  put(
    "a vector of objects",
    '{"id": "v", "embedding": [{"valueOf": 1}, 2]}',
    /\[0\] is not a number/,
  ),
  put("a vector that is an object", '{"id": "v", "embedding": {"length": 2}}', /no "embedding"/),
  put("patch: prototype keys", '{"id": "n", "metadata": {"__proto__": null}}', "accepted", [
    "patch",
    "inbox",
  ]),
  put("patch: deep", `{"id": "n", "metadata": {"a": ${deep(50_000)}}}`, /not flat/, [
    "patch",
    "inbox",
  ]),
];

const filter = (
  name: string,
  json: string,
  says: CommandCase["says"],
  option = "--where",
): CommandCase => ({
  name: `filter: ${name}`,
  args: ["get", "notes", option, json],
  input: "",
  says,
});
const nested = (depth: number) => `${'{"$and":['.repeat(depth)}{"a":1}${"]}".repeat(depth)}`;

const FILTERS: readonly CommandCase[] = [
  filter("20,000 deep", nested(20_000), /nested over 16 deep/),
  filter("16 deep", nested(15), "accepted"),
  filter("a value 100,000 deep", `{"a":${deep(50_000)}}`, /it is not an object/),
  filter(
    "$or with 20,000 parts",
    `{"$or":[${'{"a":1},'.repeat(19_999)}{"a":1}]}`,
    /too many terms/,
  ),
  filter("20,000 values", `{"a":{"$in":[${"1,".repeat(19_999)}1]}}`, /too many values/),
  filter("an unknown operator", '{"a":{"$regex":"(a+)+$"}}', /unknown operator "\$regex"/),
  filter("an operator that runs", '{"$where":"process.exit()"}', /unknown operator "\$where"/),
  filter(
    "an operator of every object",
    '{"a":{"constructor":1}}',
    /unknown operator "constructor"/,
  ),
  filter("__proto__ as an operator", '{"a":{"__proto__":1}}', /unknown operator "__proto__"/),
  filter("prototype keys", '{"__proto__":1}', "accepted"),
  filter("a key of every object", '{"toString":"x"}', "accepted"),
  filter("$and that is an object", '{"$and":{"length":1}}', /needs a list/),
  filter("$or of nothing", '{"$or":[]}', /needs a list/),
  filter("$or of numbers", '{"$or":[1]}', /it is not an object/),
  filter("a comparison with text", '{"a":{"$gt":"x"}}', /no finite number/),
  filter("a number without end", '{"a":{"$lt":1e999}}', /no finite number/),
  filter("values of several types", '{"a":{"$in":[1,"1"]}}', /not all strings/),
  filter("nothing", "{}", /it is empty/),
  filter("null", "null", /expected a JSON object/),
  filter("a list", "[]", /expected a JSON object/),
  filter("half a surrogate pair", '{"a":"\\ud800"}', "accepted"),
  filter(
    "a key of 1 KB with escape sequences",
    `{"$${"\u001b[2J".replaceAll("\u001b", "\\u001b").repeat(200)}":1}`,
    /unknown operator/,
  ),
  filter("SQL", `{"a' OR 1=1 --":{"$eq":"' OR 1=1 --"}}`, "accepted"),
  filter("text that is no text", '{"$contains":7}', /no text to look for/, "--where-document"),
  filter("empty text", '{"$contains":""}', /no text to look for/, "--where-document"),
  filter(
    "text that would be a slow pattern",
    `{"$contains":"${"(a+)+".repeat(1_000)}$"}`,
    "accepted",
    "--where-document",
  ),
  filter(
    "a document filter 20,000 deep",
    nested(20_000),
    /nested over 16 deep|unknown operator/,
    "--where-document",
  ),
];

const vector = (
  name: string,
  input: string | Uint8Array,
  says: CommandCase["says"],
): CommandCase => ({
  name: `vector: ${name}`,
  args: ["query", "notes", "--vector", "-"],
  input,
  says,
});

const VECTORS: readonly CommandCase[] = [
  vector("a sound one", "[1, 2]", "accepted"),
  vector("nothing", "", /it is not JSON/),
  vector("deep", deep(100_000), /expected a JSON array of numbers/),
  vector("2 MB", "1".repeat(2_000_000), /over 1048576 bytes/),
  vector("without end", "[1e999, 1]", /is Infinity/),
  vector("too large for float32", "[1e300, 1]", /\[0\] is Infinity/),
  vector("zero", "[0, 0]", /zero vector/),
  vector("another dimension", "[1]", /1 dimensions/),
  vector("100,000 numbers", `[${"1,".repeat(99_999)}1]`, /100000 dimensions/),
  vector("texts", '["1", "2"]', /expected a JSON array of numbers/),
  vector("an object", '{"length": 2}', /expected a JSON array of numbers/),
  vector("zeros", new Uint8Array(100), /it is not JSON/),
];

const args = (name: string, given: readonly string[], says: CommandCase["says"]): CommandCase => ({
  name: `argument: ${name}`,
  args: given,
  input: GOOD,
  says,
});
const named = (name: string) =>
  args(`collection ${JSON.stringify(name.slice(0, 30))}`, ["put", name], /collection name/);

const ARGUMENTS: readonly CommandCase[] = [
  ...[
    "",
    ".",
    "..",
    "../notes",
    "/etc",
    "a/b",
    "Notes",
    "__proto__",
    "a b",
    "a\u001b[2J",
    "x".repeat(64),
    "\u{1f600}",
    "notes\n",
  ].map(named),
  args("a collection that every object has", ["get", "constructor"], /it does not exist/),
  args("an id of 2 KB", ["delete", "notes", "--id", "x".repeat(2_000)], /"id" is over 1024 bytes/),
  args("a parent with a zero byte", ["delete", "notes", "--parent", "a\0b"], /zero byte/),
  args("an id that is SQL", ["get", "notes", "' OR 1=1 --"], "accepted"),
  args("a limit without end", ["get", "notes", "--limit", "1e999"], /expected a whole number/),
  args(
    "a limit in words",
    ["query", "notes", "--vector", "-", "-k", "many"],
    /expected a whole number/,
  ),
  args(
    "a negative limit",
    ["query", "notes", "--vector", "-", "-k", "-1"],
    /expected a whole number/,
  ),
  args(
    "a dimension without end",
    ["init", "huge", "--dimension", "1e9"],
    /expected a whole number/,
  ),
  args(
    "a million shards",
    ["init", "huge", "--dimension", "2", "--shards", "1000000"],
    /from 1 to 256/,
  ),
  args("an embedder that is a path", ["init", "evil", "--embedder", "../../canary"], /embedder/),
  args("a file that is a folder", ["put", "inbox", "/"], /Cannot read "\/"/),
  args("a file with a zero byte", ["put", "inbox", "a\0b"], /Cannot read/),
  args(
    "a run id that is a path",
    ["inspect", "collections/../../canary/secret.txt"],
    /no such file, key or run/,
  ),
  args("the log by its key", ["inspect", "log.sqlite"], /no such file, key or run/),
  args("a run that is SQL", ["quarantine", "retry", "' OR 1=1 --"], /not in quarantine/),
];

export const COMMAND_CASES: readonly CommandCase[] = [
  ...LINES,
  ...FILTERS,
  ...VECTORS,
  ...ARGUMENTS,
];
