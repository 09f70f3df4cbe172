export type { Neighbour } from "./ranking.ts";
export type { RowMode, VectorSource } from "./row-memory.ts";
export * from "./vector-block.ts";
export * from "./vector-file.ts";
