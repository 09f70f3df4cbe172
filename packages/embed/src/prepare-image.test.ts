import { readFile } from "node:fs/promises";
import { crc32, deflateSync } from "node:zlib";
import { isSiltError } from "@silt/core";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { isImageName } from "./image-name.ts";
import {
  boundedSize,
  IMAGE_BYTES_MAX,
  PREPARED_PIXELS_MAX,
  PREPARED_SIDE_MAX,
  prepareImage,
} from "./prepare-image.ts";

const images = new URL("../../../examples/images/", import.meta.url);
const example = (file: string) => readFile(new URL(file, images));

/** 60 x 40: red at the left, blue at the right. */
function redBlue() {
  const half = { create: { width: 30, height: 40, channels: 3, background: "red" } } as const;
  return sharp(half).extend({ right: 30, background: "blue" });
}

async function pixelAt(png: Uint8Array, left: number, top: number): Promise<number[]> {
  return [...(await sharp(png).extract({ left, top, width: 1, height: 1 }).raw().toBuffer())];
}

async function refusal(name: string, bytes: Uint8Array): Promise<string> {
  const failure = await prepareImage({ name, bytes }).catch((error: unknown) => error);
  if (!isSiltError(failure, "invalid")) throw new Error(`not refused as invalid: ${failure}`);
  return failure.message;
}

/** A PNG of a few bytes that announces a size. */
function bombPng(
  width: number,
  height: number,
  [depth, colours, interlace]: readonly [number, number, number] = [8, 2, 0],
): Buffer {
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const frame = Buffer.alloc(8);
    frame.writeUInt32BE(data.length, 0);
    frame.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, colours, 0, 0, interlace], 8);
  const pixels = chunk("IDAT", deflateSync(Buffer.alloc(1_000)));
  const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
  return Buffer.concat([signature, chunk("IHDR", header), pixels, chunk("IEND", Buffer.alloc(0))]);
}

describe("prepareImage()", () => {
  it.each(["png", "jpeg", "webp", "gif", "tiff", "avif"] as const)("decodes %s", async (format) => {
    const bytes = await redBlue().toFormat(format).toBuffer();
    const { width, height, bytes: png } = await prepareImage({ name: `a.${format}`, bytes });
    expect({ width, height }).toEqual({ width: 60, height: 40 });
    expect((await sharp(png).metadata()).format).toBe("png");
    const [red, , blue] = await pixelAt(png, 5, 20);
    expect(red).toBeGreaterThan(200);
    expect(blue).toBeLessThan(60);
    expect(isImageName(`photos/a.${format}`)).toBe(true);
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])("puts EXIF orientation %i upright", async (orientation) => {
    const bytes = await redBlue().withMetadata({ orientation }).png().toBuffer();
    const prepared = await prepareImage({ name: "a.png", bytes });
    const turned = orientation >= 5;
    expect([prepared.width, prepared.height]).toEqual(turned ? [40, 60] : [60, 40]);
    // Where the red left edge ends up, by the EXIF standard.
    const red = [2, 3].includes(orientation)
      ? [55, 20]
      : turned
        ? [20, [5, 6].includes(orientation) ? 5 : 55]
        : [5, 20];
    const [r, , b] = await pixelAt(prepared.bytes, red[0] as number, red[1] as number);
    expect([r, b]).toEqual([255, 0]);
  });

  it("lays transparent pictures on white and makes grey ones RGB", async () => {
    const clear = { create: { width: 9, height: 9, channels: 4, background: "#0000" } } as const;
    const prepared = await prepareImage({
      name: "clear.png",
      bytes: await sharp(clear).png().toBuffer(),
    });
    expect(await pixelAt(prepared.bytes, 4, 4)).toEqual([255, 255, 255]);
    const grey = await redBlue().greyscale().png().toBuffer();
    expect(
      await pixelAt((await prepareImage({ name: "grey", bytes: grey })).bytes, 4, 4),
    ).toHaveLength(3);
  });

  it("bounds area and side, keeps the shape, never enlarges", () => {
    expect(boundedSize(600, 400)).toEqual({ width: 600, height: 400 });
    const { width, height } = boundedSize(8_000, 6_000);
    expect(width * height).toBeLessThanOrEqual(PREPARED_PIXELS_MAX);
    expect(width * height).toBeGreaterThan(PREPARED_PIXELS_MAX * 0.99);
    expect(width / height).toBeCloseTo(4 / 3, 2);
    expect(boundedSize(600, 9_000)).toEqual({ width: 600, height: 9_000 });
    expect(boundedSize(1, 99_000_000)).toEqual({ width: 1, height: PREPARED_SIDE_MAX });
  });

  it("shrinks what is over the limit and says what it was", { timeout: 20_000 }, async () => {
    const large = {
      create: { width: 4_000, height: 3_000, channels: 3, background: "teal" },
    } as const;
    const bytes = await sharp(large).jpeg().toBuffer();
    const prepared = await prepareImage({ name: "large.jpg", bytes });
    expect(prepared).toMatchObject({ originalWidth: 4_000, originalHeight: 3_000 });
    expect(prepared.width * prepared.height).toBeLessThanOrEqual(PREPARED_PIXELS_MAX);
  });

  it("gives a prepared picture back as it is", async () => {
    const prepared = await prepareImage({ name: "a", bytes: await redBlue().png().toBuffer() });
    expect(await prepareImage(prepared)).toBe(prepared);
  });

  it("refuses garbage, emptiness, other files and oversize by name and reason", async () => {
    expect(await refusal("cat.png", Buffer.from("not a picture"))).toMatch(
      /^Cannot read image "cat\.png": it is no PNG/,
    );
    expect(await refusal("empty.jpg", new Uint8Array())).toMatch(/"empty\.jpg": the file is empty/);
    expect(await refusal("page.pdf", Buffer.from("%PDF-1.7\n"))).toMatch(/it is no PNG/);
    expect(await refusal("big.png", new Uint8Array(IMAGE_BYTES_MAX + 1))).toMatch(/at most/);
    expect(await refusal("junk.png", Buffer.from("\x89PNG\r\n\x1a\njunk", "latin1"))).toMatch(
      /^Cannot read image "junk\.png": /,
    );
  });

  it("refuses SVG before anything renders it", async () => {
    const bomb = `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`;
    expect(await refusal("bomb.svg", Buffer.from(bomb))).toMatch(/it is no PNG/);
    expect(await refusal("bomb.png", Buffer.from(`  ${bomb}`))).toMatch(/it is no PNG/);
  });

  it("F32 refuses an interlaced picture that decodes to more bytes at once than memory should hold", async () => {
    expect(await refusal("bomb.png", bombPng(10_000, 10_000, [16, 6, 1]))).toMatch(
      /"bomb.png": it is interlaced and decodes to 800000000 bytes at once, expected at most/,
    );
  });

  it("refuses a header that announces more pixels than memory should hold", async () => {
    expect(await refusal("huge.png", bombPng(60_000, 60_000))).toMatch(/pixel limit/i);
  });

  it.each(["receipt-kino-cafe.png", "photo-boats.jpg"])("refuses a truncated %s", async (file) => {
    const bytes = await example(file);
    expect(await refusal(file, bytes.subarray(0, bytes.length / 2))).toMatch(/^Cannot read image/);
  });
});

describe("isImageName()", () => {
  it.each(["a.PNG", "dir.d/b.jpeg", "c.tif", "d.jpg"])("takes %s", (name) => {
    expect(isImageName(name)).toBe(true);
  });
  it.each(["a.svg", "a.bmp", "a.pdf", "a.heic", "a.png.json", "png", "a.txt"])(
    "leaves %s",
    (name) => {
      expect(isImageName(name)).toBe(false);
    },
  );
});
