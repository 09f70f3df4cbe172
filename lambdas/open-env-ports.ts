import type { Ports } from "@silt/core";
import { openPorts } from "../packages/silt/src/open-ports.ts";
import type { Env } from "./env.ts";
import type { Wiring } from "./wiring.ts";

/**
 * What the protocol acts through, for functions that neither search nor embed: so the models stay out
 * of their bundles. Open until the container ends. Throws like `openStore`.
 */
export async function openEnvPorts(
  { location }: Pick<Env, "location">,
  { logger, metrics, instrument }: Pick<Wiring, "logger" | "metrics" | "instrument">,
  { create }: { readonly create: boolean },
): Promise<Ports> {
  const options = { create, alone: true, logger, metrics, instrument };
  return (await openPorts(location, options)).ports;
}
