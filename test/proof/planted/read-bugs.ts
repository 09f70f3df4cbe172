import { type PlantedBug, SIMULATOR, tests } from "./bug.ts";

const CORE = "packages/core/src";

/** Of readers. */
export const READ_BUGS: readonly PlantedBug[] = [
  {
    name: "pending filtered by state",
    harm: "runs that were just marked are in neither half of a fresh answer (F58)",
    edits: [
      {
        file: `${CORE}/shard-reader.ts`,
        find: "      const overlay = await this.#overlayOf(current.read, head);\n",
        replace: `      const marked = await this.#ports.log.readApplied(this.#owner);
      const from = Math.max(pointer.appliedThrough, marked?.appliedThrough ?? 0);
      if (from > pointer.appliedThrough) return this.#viewOf(current.snapshot, head, undefined);
      const overlay = await this.#overlayOf(current.read, head);
`,
      },
    ],
    caughtBy: SIMULATOR,
  },
  {
    name: "cache file trusted without its hash",
    harm: "a cache that was damaged once answers wrongly for ever (F46)",
    edits: [
      {
        file: "packages/reader/src/segment-cache.ts",
        find: 'hash === sha256 ? "sound" : "damaged"',
        replace: 'hash !== sha256.slice(1) ? "sound" : "damaged"',
      },
    ],
    caughtBy: tests("cache tests", "packages/reader/src/segment-cache.test.ts"),
  },
  {
    name: "partial download renamed, and trusted",
    harm: "half a segment takes a segment's name (F45)",
    edits: [
      {
        file: "packages/reader/src/segment-cache.ts",
        find: '        if (saved.bytes !== object.bytes || saved.sha256 !== object.sha256) return "damaged";\n',
        replace:
          '        if (saved.bytes < 0) return "damaged";\n        this.#verified.set(object.sha256, Promise.resolve("sound"));\n',
      },
    ],
    caughtBy: tests("cache tests", "packages/reader/src/segment-cache.test.ts"),
  },
  {
    name: "an old pointer that was put back is read",
    harm: "a reader answers from a version that was rolled back, or lost",
    edits: [
      {
        file: `${CORE}/shard-reader.ts`,
        find: "    checkBelongTogether(this.#owner, pointer, head, applied?.version ?? 0);",
        replace:
          "    checkBelongTogether(this.#owner, pointer, head, applied === undefined ? 0 : 0);",
      },
    ],
    caughtBy: tests("protocol tests", "test/protocol/history.test.ts"),
  },
];
