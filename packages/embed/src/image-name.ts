/** Endings of the formats that `prepareImage` decodes. */
const IMAGE_ENDING = /\.(png|jpe?g|jpe|jfif|webp|gif|tiff?|avif)$/i;

/** True for file names and keys that look like a picture Silt can read. BMP, HEIC, SVG and PDF are not. */
export function isImageName(name: string): boolean {
  return IMAGE_ENDING.test(name);
}
