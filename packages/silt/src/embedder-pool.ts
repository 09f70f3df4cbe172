import type { PutRow } from "@silt/core";
import { type CollectionIdentity, encodeEmbedding, SiltError } from "@silt/core";
import { type Embedder, openEmbedder } from "@silt/embed";

/** Texts that are embedded at once. */
export const EMBED_BATCH = 64;

/** Embedders of one store, each loaded at its first use. */
export class EmbedderPool implements AsyncDisposable {
  readonly #open = new Map<string, Promise<Embedder>>();

  /** The embedder of a collection. Throws `invalid` when it has none. */
  async of(identity: CollectionIdentity): Promise<Embedder> {
    const field = identity.vectors[0];
    const id = field?.embedder ?? null;
    if (field === undefined || id === null) {
      throw new SiltError(
        "invalid",
        `Cannot embed for collection "${identity.collection}": it has no embedder, give vectors instead`,
      );
    }
    const opening = this.#open.get(id) ?? openEmbedder(id);
    this.#open.set(id, opening);
    let embedder: Embedder;
    try {
      embedder = await opening;
    } catch (error) {
      this.#open.delete(id);
      throw error;
    }
    if (embedder.dimension === field.dimension) return embedder;
    throw new SiltError(
      "invalid",
      `Cannot embed for collection "${identity.collection}": embedder "${id}" gives ${embedder.dimension} dimensions, the collection has ${field.dimension}`,
    );
  }

  /** Vectors of texts by the collection's embedder, in order. */
  async embedTexts(
    identity: CollectionIdentity,
    texts: readonly string[],
  ): Promise<readonly Float32Array[]> {
    const embedder = await this.of(identity);
    if (embedder.embedTexts !== undefined) return embedder.embedTexts(texts);
    throw new SiltError(
      "invalid",
      `Cannot embed text for collection "${identity.collection}": its embedder "${embedder.id}" takes pictures only`,
    );
  }

  /** The vector of a picture by the collection's embedder. */
  async embedImage(
    identity: CollectionIdentity,
    image: { readonly name: string; readonly bytes: Uint8Array },
  ): Promise<Float32Array> {
    const embedder = await this.of(identity);
    if (embedder.embedImage !== undefined) return embedder.embedImage(image);
    throw new SiltError(
      "invalid",
      `Cannot embed a picture for collection "${identity.collection}": its embedder "${embedder.id}" takes text only`,
    );
  }

  /** The same rows, those in `wanting` with the vectors of their documents. */
  async fill(
    identity: CollectionIdentity,
    rows: readonly PutRow[],
    wanting: ReadonlySet<string>,
  ): Promise<readonly PutRow[]> {
    const missing = rows.filter((row) => wanting.has(row.id));
    if (missing.length === 0) return rows;
    const byId = new Map<string, Uint8Array>();
    for (let from = 0; from < missing.length; from += EMBED_BATCH) {
      const batch = missing.slice(from, from + EMBED_BATCH);
      const vectors = await this.embedTexts(
        identity,
        batch.map((row) => row.document as string),
      );
      for (const [index, row] of batch.entries()) {
        byId.set(row.id, encodeEmbedding(vectors[index] as Float32Array));
      }
    }
    return rows.map((row) => ({ ...row, embedding: byId.get(row.id) ?? row.embedding }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = await Promise.allSettled(this.#open.values());
    this.#open.clear();
    await Promise.all(
      opened.map((one) => (one.status === "fulfilled" ? one.value.close() : undefined)),
    );
  }
}
