/** The damage matrix of a store on AWS. */
import {
  fillWarmCache,
  type Matrix,
  type MatrixOptions,
  runKinds,
} from "../../proof/damage/run-matrix.ts";
import { storeKinds } from "../../proof/damage/store-kinds.ts";
import { buildAwsWorld, keepAws } from "./aws-world.ts";
import { itemKinds } from "./item-cases.ts";

/** Builds a store on AWS, damages it in every way, and gives what was seen. */
export async function runAwsMatrix(options: MatrixOptions): Promise<Matrix> {
  await using world = await buildAwsWorld(options.seed);
  await fillWarmCache(world);
  const { point, place, items } = await keepAws(world);
  const all = [...storeKinds(world, point, place), ...itemKinds(world, items)];
  return await runKinds({ world, points: [point], options: { ...options, brief: true } }, all);
}
