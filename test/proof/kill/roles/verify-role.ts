import { expectThat, type Role } from "../role-context.ts";

/** Verification beside everybody else's work finds nothing. */
export const verifyRole: Role = async ({ store, random, phases, say }) => {
  return async () => {
    phases.enter("verify");
    const { problems } = await store.verify({ deep: random.chance(0.1) });
    phases.leave("verify");
    expectThat(problems.length === 0, () => `verify found ${JSON.stringify(problems.slice(0, 3))}`);
    say({ did: "verification" });
  };
};
