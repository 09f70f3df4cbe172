/** An extract pool without engines. */
import type { ExtractPool } from "./extract-pool.ts";

const NOTHING = { records: [], vectors: new Float32Array(0) };

/** What happens while a picture is extracted. */
export type During = (uri: string) => unknown;

/**
 * Makes of a picture records in `lines` and `images` that tell its first byte; `during` happens
 * while it does.
 */
export function poolThat(during: During): ExtractPool & { readonly taken: number } {
  let taken = 0;
  return {
    get taken() {
      return taken;
    },
    async extract({ uri, bytes, metadata, pipeline, textEmbedder, imageEmbedder }) {
      taken += 1;
      await during(uri);
      const one = (what: string, { dimension }: { readonly dimension: number }) => {
        const records = [
          { id: `${uri}#${what}`, parent: uri, document: `byte ${bytes[0]}`, metadata },
        ];
        return { records, vectors: new Float32Array(dimension).fill(0.5) };
      };
      return {
        lines: pipeline === "image" ? NOTHING : one("line-0001", textEmbedder),
        words: NOTHING,
        images: pipeline === "text" ? NOTHING : one("image", imageEmbedder),
        warnings: [],
      };
    },
    async [Symbol.asyncDispose]() {},
  };
}
