/** Every damage of the items of one kind in the log's table. */
import type { AttributeValue } from "@aws-sdk/client-dynamodb";
import type { SeededRandom } from "@silt/testkit";
import type { Damage, DamageCase, DamagedKind, RunCounts } from "../../proof/damage/damage-case.ts";
import { OLDER_LOG } from "../../proof/damage/damage-world.ts";
import { structuresOf } from "../../proof/damage/file-structures.ts";
import { type AwsDamageWorld, type Behind, type Item, keyOf, nameOf, textOf } from "./aws-world.ts";

/** Of `lines`, at the end. */
const RUNS = 6;

interface ItemKind {
  readonly name: string;
  readonly holds: RegExp;
  /** The attribute that holds canonical JSON. */
  readonly json?: string;
  readonly object: RegExp;
  readonly shared?: true;
  readonly wholeStore?: true;
}

const ITEM_KINDS: readonly ItemKind[] = [
  { name: "log item: HEAD", holds: /^lines\/.* HEAD$/, object: /^log: HEAD of/ },
  {
    name: "log item: run",
    holds: /^lines\/.* RUN#/,
    json: "run",
    object: /^log: (runs? \d|HEAD of)|\/deltas\//,
  },
  { name: "log item: run id", holds: /^lines\/.* RUNID#/, object: /^log: run/ },
  { name: "log item: APPLIED", holds: /^lines\/.* APPLIED$/, object: /^log: APPLIED of/ },
  {
    name: "log item: version",
    holds: /^lines\/.* VERSION#/,
    json: "item",
    object: /^log: (version|VERSION)/,
  },
  {
    name: "log item: guard",
    holds: /^SOURCE#/,
    json: "guard",
    object: /^log: guards? of/,
    wholeStore: true,
  },
  { name: "log item: lease", holds: /^lines\/.* LEASE$/, object: /^log: lease/ },
  { name: "log item: STORE", holds: /^STORE STORE$/, object: /./, shared: true },
];

/** Damage that need not be found, for nothing that Silt reads says otherwise, each with its reason. */
export const UNSEEN: readonly {
  readonly kind: string;
  readonly holds: (damaged: DamageCase) => boolean;
  readonly reason: string;
}[] = [
  {
    kind: "log item: lease",
    holds: () => true,
    reason: "a lease saves wasted work; nothing rests on it, and the next holder writes it anew",
  },
  {
    kind: "log item: HEAD",
    holds: ({ where }) => /^(floor|excludeRev|excluding) of/.test(where),
    reason:
      "no other item says which run ids are refused, or how often exclusions were resolved; " +
      "a run id that was given up is refused by its own item, too",
  },
  {
    kind: "log item: run id",
    holds: ({ where }) => /^(state|format|requires) of/.test(where),
    reason: "of a run id that was given up no other item speaks",
  },
  {
    kind: "log item: version",
    holds: ({ damage }) => ["gone", "older version"].includes(damage),
    reason:
      "who holds a version, why and since when, is said there alone: an older item is sound by itself",
  },
  {
    kind: "log item: guard",
    holds: ({ damage }) => ["gone", "older version"].includes(damage),
    reason:
      "what a source was when it was ingested is said there alone; the next ingest reads the source " +
      "again, and a revision that does not fit is refused",
  },
  ...["HEAD", "APPLIED", "run id", "guard", "STORE"].map((kind) => ({
    kind: `log item: ${kind}`,
    holds: ({ damage }: DamageCase) => damage === "twice",
    reason: "a copy under a key that nobody asks for",
  })),
];

const unseenBy = (kind: string, damaged: DamageCase): string | undefined =>
  UNSEEN.find((entry) => entry.kind === kind && entry.holds(damaged))?.reason;

export function itemKinds(world: AwsDamageWorld, items: readonly Item[]): readonly DamagedKind[] {
  const older: readonly Item[] = (world.older.get(OLDER_LOG) ?? []).flatMap(
    (bytes) => JSON.parse(Buffer.from(bytes).toString()) as Item[],
  );
  return ITEM_KINDS.map(({ name, holds, json, object, shared, wholeStore }) => {
    const own = items.filter((item) => holds.test(nameOf(item)));
    if (own.length === 0) throw new Error(`there is no ${name}`);
    return {
      name,
      detector: "verify",
      object,
      kinds: /./,
      ...(shared && { shared }),
      ...(wholeStore && { wholeStore }),
      cases(random, places) {
        const damaged = { behind: world.behind, own, older, json };
        return itemCases(damaged, random, places).map((one) => {
          const unseen = unseenBy(name, one);
          return unseen === undefined ? one : { ...one, unseen };
        });
      },
    };
  });
}

interface DamagedItems {
  readonly behind: Behind;
  readonly own: readonly Item[];
  readonly older: readonly Item[];
  readonly json: string | undefined;
}

function itemCases(
  damaged: DamagedItems,
  random: SeededRandom,
  places: number,
): readonly DamageCase[] {
  const { own } = damaged;
  const cells = own.flatMap(cellsOf);
  const strings = cells.filter(({ value }) => (value.S?.length ?? 0) > 0);
  const bits = Array.from({ length: strings.length === 0 ? 0 : places }, () => {
    const cell = random.pick(strings);
    const at = random.int(cell.value.S?.length ?? 0);
    return bitCase(damaged, "one bit, anywhere", cell, at, random.int(6));
  });
  const picked = [...new Set([own[0], own[own.length >> 1], own.at(-1)])] as Item[];
  const some = picked.flatMap(cellsOf);
  return [
    ...bits,
    ...some.flatMap((cell) => aimedBits(damaged, cell)),
    ...some.flatMap((cell) => valueCases(damaged, cell)),
    ...picked.flatMap((item) => wholeItems(damaged, item)),
  ];
}

interface Cell {
  readonly item: Item;
  readonly name: string;
  readonly value: AttributeValue;
}

const cellsOf = (item: Item): readonly Cell[] =>
  Object.entries(item)
    .filter(([name]) => name !== "pk" && name !== "sk")
    .map(([name, value]) => ({ item, name, value }));

function cellCase(
  { behind }: DamagedItems,
  damage: Damage,
  { item, name }: Cell,
  what: string,
  value: AttributeValue | undefined,
): DamageCase {
  const { [name]: _, ...rest } = item;
  const asOf = value === undefined ? undefined : asOfHead({ ...rest, [name]: value });
  return {
    ...(asOf && { asOf }),
    damage,
    where: `${name} of ${nameOf(item).slice(-24)}: ${what}`,
    apply: () => behind.putItem(value === undefined ? rest : { ...rest, [name]: value }),
  };
}

/** A HEAD that says less than it did is a log of that time: answers are right as of then. */
function asOfHead(item: Item): RunCounts | undefined {
  const lines = Number(item.sequence?.N);
  return item.sk?.S === "HEAD" && lines < RUNS ? { lines, words: 2 } : undefined;
}

/** Strings are ASCII here, and stay valid. */
function bitCase(
  damaged: DamagedItems,
  damage: Damage,
  cell: Cell,
  at: number,
  bit: number,
): DamageCase {
  const bytes = Buffer.from(cell.value.S ?? "");
  bytes[at] = (bytes[at] as number) ^ (1 << bit);
  const what = `byte ${at}, bit ${bit}`;
  return cellCase(damaged, damage, cell, what, { S: bytes.toString() });
}

function aimedBits(damaged: DamagedItems, cell: Cell): readonly DamageCase[] {
  const { S } = cell.value;
  if (S === undefined || S === "") return [];
  const places =
    cell.name === damaged.json
      ? structuresOf("json", Buffer.from(S)).places.map(([, at]) => at)
      : [0, S.length - 1];
  return places.map((at) => bitCase(damaged, "one bit, aimed", cell, at, 0));
}

function valueCases(damaged: DamagedItems, cell: Cell): readonly DamageCase[] {
  const { S, N } = cell.value;
  const make = (damage: Damage, what: string, value: AttributeValue | undefined) =>
    cellCase(damaged, damage, cell, what, value);
  const absent = make("gone", "no such attribute", undefined);
  if (N !== undefined) {
    return [
      make("grown", "one more", { N: String(Number(N) + 1) }),
      ...(N === "0"
        ? []
        : [
            make("cut", "one less", { N: String(Number(N) - 1) }),
            make("zeroed page", "0", { N: "0" }),
          ]),
      make("unreadable", "a string", { S: N }),
      absent,
    ];
  }
  if (S === undefined) {
    return [make("grown", "one more", { L: [...(cell.value.L ?? []), { S: "x" }] }), absent];
  }
  return [
    ...[S.length >> 1, S.length - 1].map((length) =>
      make("cut", `${length} characters`, { S: S.slice(0, length) }),
    ),
    make("grown", "one character more", { S: `${S}x` }),
    make("zeroed page", "zeros", { S: "0".repeat(S.length) }),
    make("unreadable", "a number", { N: "7" }),
    absent,
  ];
}

function wholeItems({ behind, own, older }: DamagedItems, item: Item): readonly DamageCase[] {
  const name = nameOf(item).slice(-40);
  const other = own[(own.indexOf(item) + 1) % own.length] as Item;
  const before = older.filter((one) => nameOf(one) === nameOf(item));
  const { pk, sk } = item;
  // A name that sorts behind; of numbered ones one that is free.
  const free = sk?.S?.replace(/^(RUN#|VERSION#)0/, "$15") ?? "";
  const copy = { ...item, sk: { S: free === sk?.S ? `${free}x` : free } };
  return [
    { damage: "gone", where: name, apply: () => behind.removeItem(item) },
    { damage: "twice", where: name, apply: () => behind.putItem(copy) },
    ...(other === item
      ? []
      : [
          {
            damage: "another of its kind",
            where: name,
            apply: () => behind.putItem({ ...other, ...keyOf({ pk, sk } as Item) }),
          } as const,
        ]),
    ...before
      .filter((one) => textOf(one) !== textOf(item))
      .slice(-1)
      .map((one): DamageCase => {
        const asOf = asOfHead(one);
        const apply = () => behind.putItem(one);
        return { damage: "older version", where: name, apply, ...(asOf && { asOf }) };
      }),
  ];
}
