/** What an id means over all layers: the fold, one id at a time. Readers filter and rank only after this. */
import { compareIds, type PatchRow, type PutRow, patchPut, type Row } from "@silt/core";
import type { Layer } from "./layer.ts";

const PAGE_ROWS = 256;

/**
 * The put of layer `index` as the layers above leave it: patched, or undefined when one of them
 * overwrote or deleted its id, or replaced its parent.
 */
export function liveForm(layers: readonly Layer[], index: number, put: PutRow): PutRow | undefined {
  const patches: PatchRow[] = [];
  for (let above = index + 1; above < layers.length; above++) {
    const layer = layers[above] as Layer;
    const row = layer.row(put.id);
    if (row !== undefined && row.operation !== "patch") return undefined;
    if (put.parent !== null && layer.replacedAt(put.parent) !== undefined) return undefined;
    if (row !== undefined) patches.push(row);
  }
  return patches.reduce(patchPut, put);
}

/** The record of an id; undefined when there is none. */
export function resolveRecord(layers: readonly Layer[], id: string): PutRow | undefined {
  for (let index = layers.length - 1; index >= 0; index--) {
    const row = (layers[index] as Layer).row(id);
    if (row === undefined || row.operation === "patch") continue;
    return row.operation === "put" ? liveForm(layers, index, row) : undefined;
  }
  return undefined;
}

/** All records of a parent, by id. */
export function recordsOfParent(layers: readonly Layer[], parent: string): readonly PutRow[] {
  const ids = new Set(layers.flatMap((layer) => layer.childrenOf(parent)));
  return [...ids]
    .sort(compareIds)
    .map((id) => resolveRecord(layers, id))
    .filter((record) => record?.parent === parent)
    .filter((record) => record !== undefined);
}

/** The run that touched an id last, dead or alive; undefined when no layer remembers it. */
export function lastTouched(
  layers: readonly Layer[],
  id: string,
  parent: string | null,
): number | undefined {
  const seen = layers.flatMap((layer) => [
    layer.row(id)?.sequence ?? 0,
    parent === null ? 0 : (layer.replacedAt(parent) ?? 0),
  ]);
  const newest = Math.max(0, ...seen);
  return newest === 0 ? undefined : newest;
}

/** Reads one layer's rows in pages. */
class LayerCursor {
  readonly #layer: Layer;
  #page: readonly Row[];
  #at = 0;

  constructor(layer: Layer, after: string) {
    this.#layer = layer;
    this.#page = layer.page(after, PAGE_ROWS);
  }

  get row(): Row | undefined {
    return this.#page[this.#at];
  }

  next(): void {
    this.#at += 1;
    if (this.#at < this.#page.length || this.#page.length < PAGE_ROWS) return;
    this.#page = this.#layer.page((this.#page.at(-1) as Row).id, PAGE_ROWS);
    this.#at = 0;
  }
}

/** All records with `id > after`, in the order of `compareIds`, in bounded memory. */
export function* scanRecords(layers: readonly Layer[], after = ""): Generator<PutRow, void> {
  const cursors = layers.map((layer) => new LayerCursor(layer, after));
  for (;;) {
    let id: string | undefined;
    for (const { row } of cursors) {
      if (row !== undefined && (id === undefined || compareIds(row.id, id) < 0)) id = row.id;
    }
    if (id === undefined) return;
    const record = recordAt(layers, cursors, id);
    if (record !== undefined) yield record;
  }
}

/** Resolves an id from the rows under the cursors, and moves those on. */
function recordAt(
  layers: readonly Layer[],
  cursors: readonly LayerCursor[],
  id: string,
): PutRow | undefined {
  let decided: { readonly index: number; readonly row: Row } | undefined;
  for (const [index, cursor] of cursors.entries()) {
    const { row } = cursor;
    if (row?.id !== id) continue;
    if (row.operation !== "patch") decided = { index, row };
    cursor.next();
  }
  return decided?.row.operation === "put"
    ? liveForm(layers, decided.index, decided.row)
    : undefined;
}
