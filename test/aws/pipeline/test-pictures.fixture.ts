/** Pictures that are cheap to read, and the example pictures with what lies beside them. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";

const EXAMPLES = join(import.meta.dirname, "../../../examples/images");
const SIDE = 24;

export const exampleBytes = (name: string): Uint8Array => readFileSync(join(EXAMPLES, name));

/** User metadata of an upload are what a file beside a picture is on a disk. */
export function exampleMetadata(name: string): Readonly<Record<string, string>> {
  const path = join(EXAMPLES, `${name}.json`);
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
}

/** A small picture without text, another one for each number. */
export function tinyPicture(number: number): Promise<Buffer> {
  const pixels = Buffer.alloc(SIDE * SIDE * 3);
  for (let at = 0; at < pixels.length; at++) pixels[at] = (at * (number + 3) + number * 37) % 256;
  return sharp(pixels, { raw: { width: SIDE, height: SIDE, channels: 3 } })
    .png()
    .toBuffer();
}

/** Few bytes that announce more pixels than are taken. */
export function hugePicture(): Promise<Buffer> {
  return sharp({ create: { width: 11_000, height: 10_000, channels: 3, background: "white" } })
    .png({ compressionLevel: 9 })
    .toBuffer();
}

/** Begins as a picture and is none. */
export const brokenPicture = (): Buffer =>
  Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), Buffer.alloc(200, 7)]);
