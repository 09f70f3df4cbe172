import { defineConfig } from "vitest/config";

const reports = process.env.TEST_REPORTS;

/** Tests of library and command that hold wherever the store is: a folder for `main`, S3 for `aws`. */
const ON_EITHER = [
  "cli/command.test.ts",
  "collection.test.ts",
  "rollback-collection.test.ts",
  "writer.test.ts",
];

/**
 * `main` is what `npm test` runs. `package` builds, packs and installs, which takes a registry or
 * its cache and most of a minute: `npm run test:pack`. `proof` looks for lost data by simulation,
 * kills, damage and hostile input: `npm run test:proof`. `aws` talks to an AWS API server that it
 * starts: `npm run test:aws`. With TEST_REPORTS (a folder) each run also
 * leaves its results there as JSON, from which `.ci/run` makes its totals.
 */
export default defineConfig({
  test: {
    // By default one core stays idle, which is half of a machine with two.
    maxWorkers: "100%",
    reporters: reports === undefined ? ["default"] : ["default", "json"],
    ...(reports === undefined ? {} : { outputFile: { json: `${reports}/${process.pid}.json` } }),
    projects: [
      {
        test: {
          name: "main",
          include: ["{packages/*/src,lambdas,test,examples}/**/*.test.ts"],
          exclude: ["test/package/**", "test/proof/**", "test/aws/**"],
          // No test is about time: on a busy machine the slow ones take ten times what they need.
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "package",
          include: ["test/package/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
      {
        test: {
          name: "aws",
          include: [
            "test/aws/**/*.test.ts",
            ...ON_EITHER.map((file) => `packages/silt/src/${file}`),
          ],
          globalSetup: ["test/aws/global-setup.ts"],
          testTimeout: 120_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: "proof",
          include: ["test/proof/**/*.test.ts"],
          testTimeout: 600_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
