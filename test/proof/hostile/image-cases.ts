/** Hostile pictures and sidecars, by bytes. */
import { crc32, deflateSync, gzipSync } from "node:zlib";
import sharp from "sharp";

export interface ImageCase {
  /** The file's name in a folder that is ingested. */
  readonly name: string;
  readonly make: () => Buffer | Promise<Buffer>;
  /** `accepted`: it is a picture. */
  readonly says: RegExp | "accepted";
}

export interface PngShape {
  readonly width: number;
  readonly height: number;
  readonly depth?: number;
  /** 0 grey, 2 RGB, 3 palette, 6 RGBA. */
  readonly colours?: number;
  readonly interlace?: number;
}

function chunkOf(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}

/** A PNG with a header of this shape; its pixels may be fewer than that. */
export function pngOf(
  { width, height, depth = 8, colours = 2, interlace = 0 }: PngShape,
  deflated: Uint8Array = deflateSync(Buffer.alloc(1_000)),
  ...more: readonly Buffer[]
): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, colours, 0, 0, interlace], 8);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunkOf("IHDR", header),
    ...more,
    chunkOf("IDAT", deflated),
    chunkOf("IEND", Buffer.alloc(0)),
  ]);
}

const small = { width: 8, height: 8, channels: 3, background: "teal" } as const;
const picture = (format: "png" | "jpeg" | "webp" | "gif" | "tiff" | "avif") =>
  sharp({ create: small }).toFormat(format).toBuffer();
const pixels = deflateSync(Buffer.alloc(8 * 25));
const SOUND: PngShape = { width: 8, height: 8 };

const SVG = `<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<svg xmlns="http://www.w3.org/2000/svg" width="99999" height="99999"><image href="http://127.0.0.1:9/"/><text>&x;</text></svg>`;

/** A TIFF of one tag list; tiles or strips lie where the tags say. */
function tiffOf(tags: readonly (readonly [tag: number, value: number])[], next = 0): Buffer {
  const tiff = Buffer.alloc(10 + 12 * tags.length + 4 + 256);
  tiff.write("II*\0", 0, "latin1");
  tiff.writeUInt32LE(8, 4);
  tiff.writeUInt16LE(tags.length, 8);
  for (const [index, [tag, value]] of tags.entries()) {
    const at = 10 + 12 * index;
    tiff.writeUInt16LE(tag, at);
    tiff.writeUInt16LE(4, at + 2);
    tiff.writeUInt32LE(1, at + 4);
    tiff.writeUInt32LE(value, at + 8);
  }
  tiff.writeUInt32LE(next, 10 + 12 * tags.length);
  return tiff;
}
const tiffShape = (width: number, height: number) =>
  [
    [256, width],
    [257, height],
    [258, 8],
    [259, 1],
    [262, 1],
    [277, 1],
  ] as const;

export const IMAGE_CASES: readonly ImageCase[] = [
  { name: "sound.png", says: "accepted", make: () => picture("png") },
  { name: "sound.jpg", says: "accepted", make: () => picture("jpeg") },
  { name: "sound.webp", says: "accepted", make: () => picture("webp") },
  { name: "sound.gif", says: "accepted", make: () => picture("gif") },
  { name: "sound.tiff", says: "accepted", make: () => picture("tiff") },
  { name: "sound.avif", says: "accepted", make: () => picture("avif") },
  { name: "jpeg-called.png", says: "accepted", make: () => picture("jpeg") },
  { name: "bomb.png", says: /pixel limit/, make: () => pngOf({ width: 100_000, height: 100_000 }) },
  {
    name: "wide.png",
    says: /pixel limit|limits|header/,
    make: () => pngOf({ width: 0x7fffffff, height: 1 }),
  },
  { name: "no-width.png", says: /Cannot read image/, make: () => pngOf({ width: 0, height: 8 }) },
  {
    name: "interlaced-bomb.png",
    says: /interlaced and decodes to 800000000 bytes/,
    make: () => pngOf({ width: 10_000, height: 10_000, depth: 16, colours: 6, interlace: 1 }),
  },
  {
    name: "few-pixels.png",
    says: /Cannot read image/,
    make: () => pngOf({ width: 900, height: 900 }),
  },
  {
    name: "no-palette.png",
    says: /Cannot read image/,
    make: () => pngOf({ width: 8, height: 8, colours: 3 }),
  },
  {
    name: "text-bomb.png",
    says: "accepted",
    make: () => {
      const text = Buffer.concat([
        Buffer.from("x\0\0"),
        deflateSync(Buffer.alloc(32 * 1024 * 1024)),
      ]);
      return pngOf(SOUND, pixels, chunkOf("zTXt", text));
    },
  },
  {
    name: "profile-bomb.png",
    says: "accepted",
    make: () => {
      const profile = Buffer.concat([
        Buffer.from("x\0\0"),
        deflateSync(Buffer.alloc(32 * 1024 * 1024)),
      ]);
      return pngOf(SOUND, pixels, chunkOf("iCCP", profile));
    },
  },
  {
    name: "zip-behind.png",
    says: "accepted",
    make: () => Buffer.concat([pngOf(SOUND, pixels), Buffer.from("PK\x03\x04evil.sh")]),
  },
  { name: "script.png", says: /it is no PNG/, make: () => Buffer.from("#!/bin/sh\nrm -rf /\n") },
  { name: "empty.png", says: /the file is empty/, make: () => Buffer.alloc(0) },
  {
    name: "magic.png",
    says: /Cannot read image/,
    make: () => Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
  },
  { name: "zeros.png", says: /it is no PNG/, make: () => Buffer.alloc(1_000) },
  { name: "svg.png", says: /it is no PNG/, make: () => Buffer.from(SVG) },
  { name: "svg-gzip.png", says: /it is no PNG/, make: () => gzipSync(SVG) },
  {
    name: "svg-in-riff.webp",
    says: /Cannot read image/,
    make: () => Buffer.from(`RIFF\0\0\0\0WEBP${SVG}`),
  },
  {
    name: "postscript.jpg",
    says: /it is no PNG/,
    make: () => Buffer.from("%!PS-Adobe\n(%pipe%id) run\n"),
  },
  { name: "pdf.tiff", says: /it is no PNG/, make: () => Buffer.from("%PDF-1.7\n1 0 obj\n") },
  {
    name: "msl.gif",
    says: /it is no PNG/,
    make: () => Buffer.from("<image><read filename='/etc/passwd'/></image>"),
  },
  {
    name: "cut.jpg",
    says: /Cannot read image/,
    make: async () => {
      const noise = {
        width: 64,
        height: 64,
        channels: 3,
        background: "red",
        noise: { type: "gaussian", mean: 128, sigma: 60 },
      } as const;
      const jpeg = await sharp({ create: noise }).jpeg().toBuffer();
      return jpeg.subarray(0, jpeg.length / 2);
    },
  },
  {
    name: "huge-canvas.gif",
    says: /pixel limit|Cannot read image/,
    make: () =>
      Buffer.from("GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08\0;", "latin1"),
  },
  {
    name: "animated.gif",
    says: "accepted",
    make: async () => {
      const frame = { width: 8, height: 8 * 50, channels: 3, background: "teal" } as const;
      return await sharp({ create: frame, pageHeight: 8 } as never)
        .gif()
        .toBuffer();
    },
  },
  {
    name: "huge-tiles.tiff",
    says: /Cannot read image/,
    make: () => tiffOf([...tiffShape(64, 64), [322, 60_000], [323, 60_000], [324, 8], [325, 9]]),
  },
  { name: "no-strips.tiff", says: /Cannot read image/, make: () => tiffOf(tiffShape(64, 64)) },
  {
    name: "strips-elsewhere.tiff",
    says: /Cannot read image/,
    make: () => tiffOf([...tiffShape(64, 64), [273, 0xfffffff0], [278, 64], [279, 4_096]]),
  },
  {
    name: "circle-of-pages.tiff",
    says: /Cannot read image/,
    make: () => tiffOf(tiffShape(64, 64), 8),
  },
  {
    name: "pixels.tiff",
    says: /pixel limit|Cannot read image/,
    make: () => tiffOf([...tiffShape(0x7fffffff, 0x7fffffff), [273, 8], [278, 64], [279, 4_096]]),
  },
  {
    name: "boxes.avif",
    says: /Cannot read image/,
    make: () => Buffer.from("\0\0\0\x18ftypavif\0\0\0\0avifmif1\xff\xff\xff\xffmeta", "latin1"),
  },
];

/** Sidecars beside a sound picture of their own. */
export const SIDECAR_CASES: readonly {
  readonly name: string;
  readonly text: string | Buffer;
  readonly says: RegExp | "accepted";
}[] = [
  { name: "no-json", text: "{", says: /no-json\.png\.json": it is not JSON/ },
  { name: "deep", text: `{"a":${"[".repeat(50_000)}${"]".repeat(50_000)}}`, says: /not flat/ },
  { name: "latin1", text: Buffer.from('{"a":"\xe4"}', "latin1"), says: /it is not UTF-8/ },
  { name: "list", text: "[]", says: /not an object/ },
  { name: "long", text: JSON.stringify({ a: "x".repeat(70_000) }), says: /over 64 KiB/ },
  { name: "huge", text: " ".repeat(2 * 1024 * 1024), says: /the sidecar has 2097152 bytes/ },
  { name: "reserved", text: '{"file":"/etc/passwd"}', says: /"file" is reserved/ },
  { name: "context", text: '{"context":{"a":1}}', says: /not flat/ },
  { name: "surrogate", text: '{"a":"\\ud800"}', says: /unpaired surrogate/ },
  { name: "prototype", text: '{"__proto__":"x","constructor":1}', says: "accepted" },
];
