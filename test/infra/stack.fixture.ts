/** A synthesized stack without bundles: functions get an empty folder, so that no test needs a registry. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { Code } from "aws-cdk-lib/aws-lambda";
import { type SiltSettings, SiltStack } from "../../infra/silt-stack.ts";

const EMPTY = mkdtempSync(join(tmpdir(), "silt-no-code-"));

export type Properties = Readonly<Record<string, unknown>>;

export interface Resource {
  readonly Type: string;
  readonly Properties: Properties;
  readonly DependsOn?: readonly string[];
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
}

export function newStack(settings: Omit<SiltSettings, "code"> = {}, name = "Silt") {
  const app = new App({
    outdir: mkdtempSync(join(tmpdir(), "silt-synth-")),
    context: { "@aws-cdk/aws-iam:minimizePolicies": true },
  });
  return {
    app,
    stack: new SiltStack(app, name, { code: () => Code.fromAsset(EMPTY), ...settings }),
  };
}

export interface Synthesized {
  readonly template: Template;
  readonly resources: Readonly<Record<string, Resource>>;
  /** Resources of a type, with the path's part of their logical id. */
  of(type: string, idStart?: string): readonly (Resource & { readonly id: string })[];
  /** The one whose logical id starts so. */
  one(type: string, idStart: string): Resource & { readonly id: string };
}

const made = new Map<string, Synthesized>();

/** The template of a stack with these settings; each is made once. */
export function synthesize(settings: Omit<SiltSettings, "code"> = {}, name = "Silt"): Synthesized {
  const key = JSON.stringify([settings, name]);
  const known = made.get(key) ?? read(settings, name);
  made.set(key, known);
  return known;
}

function read(settings: Omit<SiltSettings, "code">, name: string): Synthesized {
  const template = Template.fromStack(newStack(settings, name).stack);
  const resources = template.toJSON().Resources as Synthesized["resources"];
  const of: Synthesized["of"] = (type, idStart = "") =>
    Object.entries(resources)
      .filter(([id, resource]) => resource.Type === type && id.startsWith(idStart))
      .map(([id, resource]) => ({ id, ...resource }));
  const one: Synthesized["one"] = (type, idStart) => {
    const [found, ...more] = of(type, idStart).filter(({ id }) =>
      /^[0-9A-F]{8}$/.test(id.slice(idStart.length)),
    );
    if (found === undefined || more.length > 0) {
      throw new Error(`Cannot find one ${type} "${idStart}": ${of(type).map(({ id }) => id)}`);
    }
    return found;
  };
  return { template, resources, of, one };
}

/** The statements of a function's role, with resources as readable text. */
export function statementsOf({ of }: Synthesized, role: string): readonly string[] {
  const documents = of("AWS::IAM::Policy", `${role}Role`).map(
    ({ Properties }) => Properties.PolicyDocument as { Statement: readonly Properties[] },
  );
  return documents
    .flatMap(({ Statement }) => Statement)
    .flatMap(({ Effect, Action, Resource }) =>
      [Resource].flat().map((each) => `${Effect} ${[Action].flat().join(" ")} on ${textOf(each)}`),
    )
    .sort();
}

/** `Fn::GetAtt` and `Fn::Join` as `<Name>`, hashes of logical ids left out. */
function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  const [[kind, inner] = []] = Object.entries(value as Properties);
  if (kind === "Fn::Join")
    return ((inner as [string, unknown[]])[1] as unknown[]).map(textOf).join("");
  const [name, attribute] = kind === "Fn::GetAtt" ? (inner as string[]) : [inner as string, ""];
  const short = `${name}`.replace(/[0-9A-F]{8}$/, "");
  return attribute === "Arn" || attribute === "" ? `<${short}>` : `<${short}.${attribute}>`;
}
