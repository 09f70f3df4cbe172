import { describe, expect, it } from "vitest";
import { canonicalJson } from "./canonical-json.ts";
import { addLanes, lanesFromHex, lanesToHex, rowSums, textDigest, vectorDigest } from "./digest.ts";
import {
  encodeJson,
  parseDeltaManifest,
  parsePolicy,
  parseRun,
  seal,
  sha256Of,
} from "./formats.ts";
import { shortId, uuidV7 } from "./ids.ts";
import { distanceOf } from "./metric.ts";
import { nextRunsHash } from "./run-chain.ts";

const encode = (text: string) => new TextEncoder().encode(text);

describe("canonicalJson()", () => {
  it("sorts keys by UTF-16 code units at every depth, and leaves no white space", () => {
    const value = { b: [{ y: 1, x: 2 }], a: { "\u{1f600}": 1, "\ufb33": 2 }, "": null };
    expect(canonicalJson(value)).toBe(
      '{"":null,"a":{"\u{1f600}":1,"\ufb33":2},"b":[{"x":2,"y":1}]}',
    );
  });

  it("writes numbers and strings as RFC 8785 says", () => {
    const value = [
      1e21,
      1e-7,
      -0,
      0.1,
      1e30,
      4.5,
      2e-3,
      333333333.3333333,
      '€$\u000f\nA\'B"\\\\"/',
    ];
    expect(canonicalJson(value)).toBe(
      '[1e+21,1e-7,0,0.1,1e+30,4.5,0.002,333333333.3333333,"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"]',
    );
  });

  it("gives equal bytes for equal values, and leaves absent members out", () => {
    expect(canonicalJson({ a: 1, b: undefined, c: 2 })).toBe(canonicalJson({ c: 2, a: 1 }));
  });
});

describe("digests", () => {
  it("I3 tell fields apart that run into each other, and absent from empty", () => {
    const digests = [
      textDigest("put", "ab", "c", "{}"),
      textDigest("put", "a", "bc", "{}"),
      textDigest("put", "a", null, "{}"),
      textDigest("put", "a", "", "{}"),
      textDigest("patch", "a", "", "{}"),
      vectorDigest("a", null, new Uint8Array(4)),
      vectorDigest("a", "", new Uint8Array(4)),
      vectorDigest("a", "b", new Uint8Array(4)),
      vectorDigest("ab", null, new Uint8Array(4)),
    ].map((digest) => digest.toString("hex"));
    expect(new Set(digests).size).toBe(digests.length);
  });

  it("leave the sequence out, and give deletes and patches no vector", () => {
    const row = { operation: "delete", id: "a", sequence: 1 } as const;
    expect(rowSums(row)).toEqual(rowSums({ ...row, sequence: 9 }));
    expect(rowSums(row).v).toEqual([0, 0, 0, 0]);
  });

  it("hold fields longer than the buffer that they are gathered in", () => {
    const long = "x".repeat(1_000_000);
    expect(textDigest("put", "a", long, "{}")).not.toEqual(
      textDigest("put", "a", `${long}y`, "{}"),
    );
  });

  it("lanes add modulo 2^32 each, and survive being written in hexadecimal", () => {
    expect(addLanes([0xffffffff, 1, 2, 3], [1, 0xffffffff, 0, 0])).toEqual([0, 0, 2, 3]);
    const lanes = [0, 1, 0xdeadbeef, 0xffffffff] as const;
    expect(lanesToHex(lanes)).toBe("0000000000000001deadbeefffffffff");
    expect(lanesFromHex(lanesToHex(lanes))).toEqual(lanes);
  });
});

describe("parsing what is persisted", () => {
  const sealed = seal({
    format: 1,
    requires: [] as string[],
    compaction: {
      strategy: "tiered",
      fanOut: 8,
      smallBytes: 1,
      rewriteRatio: 2,
      tombstoneRatio: 0.2,
      tombstoneAgeMs: 1,
      segmentsMax: 3,
      runsMax: 1,
      bytesMax: 1,
    },
    lease: { ttlMs: 1, heartbeatMs: 1, skewMs: 1 },
    retention: { versionsKept: 1, versionsKeptMs: 0, deltasKeptMs: null, graceMs: 1 },
  });

  it("takes what encodeJson() made", () => {
    expect(parsePolicy(encodeJson(sealed), "policy")).toEqual(sealed);
  });

  it("F31 F61 any changed byte is corrupt, and the message names the thing", () => {
    const bytes = encodeJson(sealed);
    for (let at = 0; at < bytes.length; at++) {
      const flipped = Uint8Array.from(bytes);
      flipped[at] = (flipped[at] as number) ^ 1;
      expect(() => parsePolicy(flipped, 'policy "x"'), `byte ${at}`).toThrow(
        expect.objectContaining({
          name: "SiltError",
          message: expect.stringContaining('policy "x"'),
        }),
      );
    }
  });

  it("F35 an unknown requirement is invalid, not corrupt, whatever else a later format changed", () => {
    const later = { format: 2, requires: ["leap"], anything: true };
    expect(() => parsePolicy(encodeJson(later), "policy")).toThrow(
      expect.objectContaining({ kind: "invalid", message: expect.stringMatching(/leap.*upgrade/) }),
    );
    const otherFormat = { ...sealed, format: 2 };
    expect(() => parsePolicy(encodeJson(otherFormat), "policy")).toThrow(
      expect.objectContaining({ kind: "corrupt" }),
    );
  });

  it("what is no JSON, no UTF-8 or not of the form is corrupt, and says where", () => {
    for (const bytes of [
      encode(""),
      encode("{"),
      Uint8Array.of(0xff, 0xfe),
      encode("[]"),
      encode("{}"),
    ]) {
      expect(() => parseRun(bytes, "run")).toThrow(expect.objectContaining({ kind: "corrupt" }));
    }
    const wrong = { format: 1, requires: [], sequence: 0 };
    expect(() => parseRun(encodeJson(wrong), "run")).toThrow(/sequence/);
    expect(() =>
      parseDeltaManifest(encodeJson({ ...wrong, rows: { put: -1 } }), "delta.json"),
    ).toThrow(/Cannot read delta.json/);
  });

  it("hashes as everyone does", () => {
    expect(sha256Of("abc")).toBe(
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    );
  });
});

describe("ids", () => {
  it("uuidV7() carries its time in front, so that run ids sort by it", () => {
    const bits = new Uint8Array(16).fill(0xff);
    const nowMs = Date.UTC(2026, 0, 1);
    const id = uuidV7(nowMs, bits);
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7fff-bfff-ffffffffffff$/);
    expect(Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16)).toBe(nowMs);
    expect(uuidV7(nowMs + 1, new Uint8Array(16)) > id).toBe(true);
    expect([...bits]).toEqual(Array(16).fill(0xff));
  });

  it("shortId() is 16 hexadecimal digits", () => {
    expect(shortId(Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 255))).toBe("00010203040506ff");
  });
});

describe("nextRunsHash()", () => {
  it("F52 depends on every earlier run and on their order", () => {
    const chain = (...ids: string[]) => ids.reduce(nextRunsHash, sha256Of(""));
    const hashes = [
      chain("a", "b"),
      chain("b", "a"),
      chain("a"),
      chain("ab"),
      chain("a", "b", "c"),
    ];
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});

describe("distanceOf()", () => {
  it("is Chroma's: cosine 1 - cos, l2 squared, ip 1 - dot", () => {
    expect(distanceOf("cosine", [1, 0], [0, 2])).toBe(1);
    expect(distanceOf("cosine", [1, 1], [2, 2])).toBeCloseTo(0, 12);
    expect(distanceOf("l2", [1, 2], [4, 6])).toBe(25);
    expect(distanceOf("ip", [1, 2], [3, 4])).toBe(-10);
  });
});
