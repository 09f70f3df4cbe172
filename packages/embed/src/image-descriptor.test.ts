import { readdirSync, readFileSync } from "node:fs";
import { distanceOf } from "@silt/core";
import sharp from "sharp";
import { expect, it } from "vitest";
import { openImageDescriptor } from "./image-descriptor.ts";

const folder = new URL("../../../examples/images/", import.meta.url);
const files = readdirSync(folder).filter((file) => !file.endsWith(".json"));
const { embedImage } = await openImageDescriptor();

async function describeBytes(bytes: Uint8Array): Promise<Float32Array> {
  if (embedImage === undefined) throw new Error("it takes no pictures");
  return await embedImage({ name: "picture", bytes });
}

it("finds every example again after resizing, recompressing and cropping, before any other picture", {
  timeout: 30_000,
}, async () => {
  const originals = new Map<string, Float32Array>();
  for (const file of files) {
    originals.set(file, await describeBytes(readFileSync(new URL(file, folder))));
  }
  for (const file of files) {
    const upright = sharp(readFileSync(new URL(file, folder))).autoOrient();
    const { width, height } = (await upright.toBuffer({ resolveWithObject: true })).info;
    const crop = { left: 4, top: 4, width: width - 8, height: height - 8 };
    const variants = [
      await upright.clone().resize(240).png().toBuffer(),
      await upright.clone().jpeg({ quality: 30 }).toBuffer(),
      await upright.clone().extract(crop).webp().toBuffer(),
    ];
    for (const variant of variants) {
      const vector = await describeBytes(variant);
      const ranked = [...originals].map(([name, other]) => ({
        name,
        distance: distanceOf("cosine", vector, other),
      }));
      ranked.sort((a, b) => a.distance - b.distance);
      expect(ranked[0]?.name).toBe(file);
      expect(ranked[0]?.distance).toBeLessThan((ranked[1]?.distance as number) / 2);
    }
  }
});

it.each(["white", "black", "#808080"])(
  "gives a featureless %s picture 512 components of length 1",
  async (background) => {
    const blank = { create: { width: 50, height: 50, channels: 3, background } } as const;
    const vector = await describeBytes(await sharp(blank).png().toBuffer());
    expect(vector).toHaveLength(512);
    expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
  },
);

it("is the same for a picture turned by its EXIF tag alone", async () => {
  const upright = readFileSync(new URL("photo-boats.jpg", folder));
  const stored = await sharp(upright).rotate(270).withMetadata({ orientation: 6 }).png().toBuffer();
  const distance = distanceOf("cosine", await describeBytes(upright), await describeBytes(stored));
  expect(distance).toBeLessThan(1e-6);
});
