import type { Embedder, ImageInput } from "./embedder.ts";
import { prepareImage } from "./prepare-image.ts";

export const IMAGE_DESCRIPTOR_DIMENSION = 512;
/** The picture is looked at as a square of 96 x 96 pixels, in 8 x 8 cells. */
const SIDE = 96;
const CELLS = 8;
const CELL = SIDE / CELLS;
/** Edge directions told apart, over 180 degrees: 8 * 8 * 5 = 320 components. */
const DIRECTIONS = 5;
/** Red, green and blue of each cell: 8 * 8 * 3 = 192 components. */
const CHANNELS = 3;
/** Share of the squared length that edges have; colours have the rest. */
const EDGE_SHARE = 0.6;

/**
 * Finds near-duplicates only: the same picture resized, re-encoded, slightly cropped. It knows
 * nothing of what a picture shows and is not semantic: for that use `xenova:clip`. Hand-made:
 * histograms of oriented gradients (Dalal and Triggs 2005) beside a grid of mean colours.
 */
export async function openImageDescriptor(): Promise<Embedder> {
  return {
    id: "image-descriptor",
    dimension: IMAGE_DESCRIPTOR_DIMENSION,
    modality: "image",
    embedImage: describeImage,
    close: async () => {},
  };
}

async function describeImage(image: ImageInput): Promise<Float32Array> {
  const { bytes } = await prepareImage(image);
  const { default: sharp } = await import("sharp");
  const square = sharp(bytes).resize(SIDE, SIDE, { fit: "fill" }).removeAlpha();
  const pixels = await square.toColourspace("srgb").raw().toBuffer();
  const edges = edgeHistograms(luminanceOf(pixels));
  const colours = colourGrid(pixels);
  const vector = new Float32Array(IMAGE_DESCRIPTOR_DIMENSION);
  vector.set(scaledTo(edges, Math.sqrt(EDGE_SHARE)), 0);
  vector.set(scaledTo(colours, Math.sqrt(1 - EDGE_SHARE)), edges.length);
  return vector;
}

/** Rec. 601 luma of RGB pixels. */
function luminanceOf(pixels: Uint8Array): Float32Array {
  const luma = new Float32Array(SIDE * SIDE);
  for (let i = 0; i < luma.length; i++) {
    const [r, g, b] = [pixels[i * 3], pixels[i * 3 + 1], pixels[i * 3 + 2]] as number[];
    luma[i] = 0.299 * (r as number) + 0.587 * (g as number) + 0.114 * (b as number);
  }
  return luma;
}

/** Per cell, the strength of edges in each direction; neighbouring directions share an edge. */
function edgeHistograms(luma: Float32Array): Float32Array {
  const histograms = new Float32Array(CELLS * CELLS * DIRECTIONS);
  const at = (x: number, y: number) => luma[y * SIDE + x] as number;
  for (let y = 1; y < SIDE - 1; y++) {
    for (let x = 1; x < SIDE - 1; x++) {
      const dx = at(x + 1, y) - at(x - 1, y);
      const dy = at(x, y + 1) - at(x, y - 1);
      const turn = ((Math.atan2(dy, dx) / Math.PI + 1) % 1) * DIRECTIONS;
      const lower = Math.floor(turn) % DIRECTIONS;
      const cell = (Math.floor(y / CELL) * CELLS + Math.floor(x / CELL)) * DIRECTIONS;
      const strength = Math.hypot(dx, dy);
      const upperShare = turn - Math.floor(turn);
      add(histograms, cell + lower, strength * (1 - upperShare));
      add(histograms, cell + ((lower + 1) % DIRECTIONS), strength * upperShare);
    }
  }
  // Square roots keep one hard edge from outweighing all soft ones.
  return histograms.map(Math.sqrt);
}

/** Mean of each channel in each cell, around middle grey. */
function colourGrid(pixels: Uint8Array): Float32Array {
  const sums = new Float32Array(CELLS * CELLS * CHANNELS);
  for (let i = 0; i < SIDE * SIDE; i++) {
    const [x, y] = [i % SIDE, Math.floor(i / SIDE)];
    const cell = (Math.floor(y / CELL) * CELLS + Math.floor(x / CELL)) * CHANNELS;
    for (let c = 0; c < CHANNELS; c++) {
      add(sums, cell + c, (pixels[i * CHANNELS + c] as number) / 255 - 0.5);
    }
  }
  return sums;
}

function add(target: Float32Array, index: number, amount: number): void {
  target[index] = (target[index] as number) + amount;
}

/** `values` at the given length. A featureless half (a blank page) points nowhere: then evenly everywhere. */
function scaledTo(values: Float32Array, length: number): Float32Array {
  const norm = Math.hypot(...values);
  if (norm < 1e-6) return values.map(() => length / Math.sqrt(values.length));
  return values.map((value) => (value * length) / norm);
}
