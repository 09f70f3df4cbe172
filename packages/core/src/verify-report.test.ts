import { describe, expect, it } from "vitest";
import { SiltError } from "./silt-error.ts";
import { createFindings, REMEDIES, unlessDamaged, unlessLogDamaged } from "./verify-report.ts";

describe("createFindings()", () => {
  it("is ok without problems, whatever was noticed", () => {
    const findings = createFindings();
    findings.notice("a", "leftover", "nobody reads it");
    findings.count({ objects: 2, bytes: 10 });
    findings.count({ objects: 1, rows: 5 });
    expect(findings.report()).toEqual({
      ok: true,
      checked: { objects: 3, bytes: 10, segments: 0, rows: 5, runs: 0 },
      problems: [],
      notices: [{ object: "a", kind: "leftover", message: "nobody reads it" }],
    });
  });

  it("gives each problem the remedy of its kind, or its own", () => {
    const findings = createFindings();
    findings.problem("a", "pointer-missing", "gone");
    findings.problem("b", "excluded-run", "poison", "silt quarantine retry x.");
    const remedies = findings.report().problems.map(({ remedy }) => remedy);
    expect(remedies).toEqual([REMEDIES["pointer-missing"], "silt quarantine retry x."]);
    expect(findings.report().ok).toBe(false);
  });

  it("I8 lists a thousand of a kind and counts the others; rare kinds are never crowded out", () => {
    const piece = createFindings();
    for (let index = 0; index < 2_500; index++) piece.problem(`${index}`, "bundle-missing", "gone");
    piece.problem("pointer", "pointer-missing", "gone");
    const findings = createFindings();
    findings.add(piece);
    const { problems } = findings.report();
    expect(problems.length).toBeLessThan(1_010);
    expect(problems).toContainEqual(expect.objectContaining({ object: "pointer" }));
    expect(problems.some(({ message }) => message.includes("more of this kind"))).toBe(true);
  });

  it("has a remedy for every kind that is a sentence, and kinds that scripts can rely on", () => {
    for (const [kind, remedy] of Object.entries(REMEDIES)) {
      expect(kind).toMatch(/^[a-z]+(-[a-z]+)*$/);
      expect(remedy).toMatch(/^[A-Z].*\.$/);
    }
  });
});

describe("unlessDamaged()", () => {
  const outcome = async (kind: SiltError["kind"], read: typeof unlessDamaged) => {
    let seen: string | undefined;
    const value = await read(
      () => Promise.reject(new SiltError(kind, "told")),
      ({ message }) => {
        seen = message;
      },
    );
    return [value, seen];
  };

  it("reports damage, and throws what the environment or a bug does", async () => {
    expect(await outcome("corrupt", unlessDamaged)).toEqual([undefined, "told"]);
    expect(await outcome("invalid", unlessDamaged)).toEqual([undefined, "told"]);
    for (const kind of ["unavailable", "internal", "fenced"] as const) {
      await expect(outcome(kind, unlessDamaged)).rejects.toMatchObject({ kind });
    }
  });

  it("takes a log that its adapter cannot make sense of for damaged", async () => {
    expect(await outcome("internal", unlessLogDamaged as typeof unlessDamaged)).toEqual([
      undefined,
      "told",
    ]);
    await expect(
      outcome("unavailable", unlessLogDamaged as typeof unlessDamaged),
    ).rejects.toMatchObject({ kind: "unavailable" });
  });
});
