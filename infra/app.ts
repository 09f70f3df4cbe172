/** The CDK app: reads settings, builds the functions' bundles unless they are cached, makes one stack. */
import {
  App,
  CliCredentialsStackSynthesizer,
  type IStackSynthesizer,
  Validations,
} from "aws-cdk-lib";
import { Code } from "aws-cdk-lib/aws-lambda";
import { AwsSolutionsChecks } from "cdk-nag";
import { buildBundles, hostArchitecture } from "./bundle/build-bundles.ts";
import { settingsOf } from "./context.ts";
import { SiltStack } from "./silt-stack.ts";

const app = new App();
const { stackName, local, xenova, ...settings } = settingsOf(app.node.getAllContext());
const architecture = settings.architecture ?? (local ? hostArchitecture() : "arm64");
const bundles = await buildBundles({ architecture, xenova });
new SiltStack(app, stackName, {
  // An API server on this machine runs functions on its own processor, has no TLS, and does
  // not let the bootstrap's roles publish.
  ...(local && {
    removal: "destroy" as const,
    requireTls: false,
    synthesizer: new CliCredentialsStackSynthesizer() as IStackSynthesizer,
  }),
  ...settings,
  architecture,
  code: (name) => Code.fromAsset(bundles[name]),
});
// Without TLS the checks fail, as they should.
if (!local) Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
app.synth();
