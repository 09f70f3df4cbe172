import { reasonOf, SiltError } from "@silt/core";
import type { Metadata } from "sharp";
import type { ImageInput } from "./embedder.ts";

/** Largest file taken. */
export const IMAGE_BYTES_MAX = 64 * 1024 * 1024;
/** Pixels that a header may announce; most formats are decoded in strips. */
export const IMAGE_PIXELS_MAX = 100_000_000;
/** What comes in several passes is decoded whole: some hundred bytes of it may ask for a gigabyte. */
export const WHOLE_BYTES_MAX = 400_000_000;
/** Area and side of a prepared picture. By area, so that a receipt of a metre stays readable. */
export const PREPARED_PIXELS_MAX = 2_500 * 2_500;
export const PREPARED_SIDE_MAX = 10_000;
const DECODE_SECONDS_MAX = 60;

/** A picture as everything after it sees it: upright, opaque, bounded, one PNG. */
export interface PreparedImage extends ImageInput {
  readonly prepared: true;
  readonly width: number;
  readonly height: number;
  /** Size before it was bounded, upright. */
  readonly originalWidth: number;
  readonly originalHeight: number;
}

/**
 * Decodes a picture, turns it by its EXIF orientation, lays it on white, bounds its size and
 * encodes it as PNG. Throws `invalid` for anything that is no readable picture.
 */
export async function prepareImage(image: ImageInput): Promise<PreparedImage> {
  if (isPrepared(image)) return image;
  checkBytes(image);
  const { default: sharp } = await import("sharp");
  try {
    // "error" refuses truncated and damaged files, but not the harmless oddities of cameras.
    const input = { limitInputPixels: IMAGE_PIXELS_MAX, failOn: "error" } as const;
    const metadata = await sharp(image.bytes, input).metadata();
    checkWhole(image.name, metadata);
    const { autoOrient } = metadata;
    const bound = boundedSize(autoOrient.width, autoOrient.height);
    const { data, info } = await sharp(image.bytes, input)
      .timeout({ seconds: DECODE_SECONDS_MAX })
      .autoOrient()
      .resize({ ...bound, fit: "fill" })
      .flatten({ background: "white" })
      .toColourspace("srgb")
      .png({ compressionLevel: 3 })
      .toBuffer({ resolveWithObject: true });
    return {
      prepared: true,
      name: image.name,
      bytes: data,
      width: info.width,
      height: info.height,
      originalWidth: autoOrient.width,
      originalHeight: autoOrient.height,
    };
  } catch (error) {
    if (error instanceof SiltError) throw error;
    throw unreadable(image.name, decoderReason(error), error);
  }
}

/** Interlaced PNG and progressive JPEG. */
function checkWhole(
  name: string,
  { width, height, channels, depth, isProgressive }: Metadata,
): void {
  const bytes = width * height * channels * (depth === "uchar" ? 1 : 2);
  if (isProgressive !== true || bytes <= WHOLE_BYTES_MAX) return;
  throw unreadable(
    name,
    `it is interlaced and decodes to ${bytes} bytes at once, expected at most ${WHOLE_BYTES_MAX}`,
  );
}

function isPrepared(image: ImageInput): image is PreparedImage {
  return "prepared" in image && image.prepared === true;
}

/** Width and height, scaled down together until both limits hold; never up. */
export function boundedSize(width: number, height: number): { width: number; height: number } {
  const byArea = Math.sqrt(PREPARED_PIXELS_MAX / (width * height));
  const scale = Math.min(1, byArea, PREPARED_SIDE_MAX / Math.max(width, height));
  return {
    width: Math.max(1, Math.floor(width * scale)),
    height: Math.max(1, Math.floor(height * scale)),
  };
}

function checkBytes({ name, bytes }: ImageInput): void {
  if (bytes.length === 0) throw unreadable(name, "the file is empty");
  if (bytes.length > IMAGE_BYTES_MAX) {
    throw unreadable(name, `it has ${bytes.length} bytes, expected at most ${IMAGE_BYTES_MAX}`);
  }
  if (!isKnownFormat(bytes)) {
    throw unreadable(
      name,
      "it is no PNG, JPEG, WebP, GIF, TIFF or AVIF file, expected one of these",
    );
  }
}

/**
 * By first bytes, before any decoder runs: SVG must never reach its renderer, for a few bytes of
 * it can ask for any amount of work or name other files.
 */
function isKnownFormat(bytes: Uint8Array): boolean {
  const head = String.fromCharCode(...bytes.subarray(0, 32));
  return (
    head.startsWith("\x89PNG\r\n\x1a\n") ||
    head.startsWith("\xff\xd8\xff") ||
    head.startsWith("GIF87a") ||
    head.startsWith("GIF89a") ||
    head.startsWith("II*\0") ||
    head.startsWith("MM\0*") ||
    (head.startsWith("RIFF") && head.slice(8, 12) === "WEBP") ||
    (head.slice(4, 8) === "ftyp" && /avif|avis|mif1/.test(head.slice(8)))
  );
}

/** The first line of what the decoder says. */
function decoderReason(error: unknown): string {
  const [first = ""] = reasonOf(error).split("\n");
  return first.replace(/:? *$/, "");
}

function unreadable(name: string, reason: string, cause?: unknown): SiltError {
  return new SiltError("invalid", `Cannot read image "${name}": ${reason}`, { cause });
}
