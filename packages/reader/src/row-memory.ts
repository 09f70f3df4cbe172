import { type Metric, SiltError } from "@silt/core";
import { type Kernel, LANES, openKernels, WASM_PAGE_BYTES, WASM_PAGES_MAX } from "./wasm-kernel.ts";

/** Rows of float32 vectors; all of them are read once, in order, when they are loaded. */
export interface VectorSource {
  readonly dimension: number;
  readonly count: number;
  /** Fills `target` with `rows` contiguous rows. After loading only windowed rows call it. */
  read(target: Float32Array, firstRow: number, rows: number): void;
  /** Called once, when nothing more is read. */
  close?(): void;
}

/** `resident`: all rows in memory. `windowed`: read again, chunk by chunk, for each query. */
export type RowMode = "resident" | "windowed";

/** Vectors under a kernel: they, or a window over them, lie in WebAssembly memory. */
export interface RowMemory {
  readonly mode: RowMode;
  /** Bytes of WebAssembly memory held. */
  readonly bytes: number;
  /** What all rows take in memory. */
  readonly residentBytes: number;
  /** What {@link score} writes, by row. */
  readonly scores: Float32Array;
  /** Before the first {@link score}: squares of the rows' lengths. Then for the caller to set. */
  readonly scales: Float32Array;
  /** Scores all rows against a query of `dimension` components. */
  score(metric: Metric, query: ArrayLike<number>): void;
  /** The components of a row; valid until the next call. */
  rowAt(row: number): Float32Array;
}

/**
 * Rows are read and scored in chunks of this size: small enough to stay in the cache in between,
 * and calls are frequent enough for the engine to swap in optimized code in the middle of a query.
 */
const CHUNK_BYTES = 1024 * 1024;
const ALIGNMENT = 64;

interface Layout {
  readonly mode: RowMode;
  /** Bytes of a row, with the zeros that pad it. */
  readonly stride: number;
  readonly chunkRows: number;
  readonly scoresAt: number;
  readonly scalesAt: number;
  readonly rowsAt: number;
  readonly bytes: number;
  readonly residentBytes: number;
}

/** The query comes first, then scores, scales and rows. */
function planLayout(dimension: number, count: number, memoryBytesMax: number): Layout {
  const stride = Math.ceil(dimension / LANES) * LANES * 4;
  const chunkRows = Math.max(1, Math.floor(CHUNK_BYTES / stride));
  const scoresAt = stride;
  const scalesAt = scoresAt + count * 4;
  const rowsAt = Math.ceil((scalesAt + count * 4) / ALIGNMENT) * ALIGNMENT;
  const limit = WASM_PAGES_MAX * WASM_PAGE_BYTES;
  const whole = rowsAt + count * stride;
  const mode = whole <= Math.min(memoryBytesMax, limit) ? "resident" : "windowed";
  const bytes = mode === "resident" ? whole : rowsAt + Math.min(count, chunkRows) * stride;
  if (bytes > limit) {
    throw new SiltError(
      "invalid",
      `Cannot load vectors: the scores of ${count} rows take ${rowsAt} bytes, expected under 4 GiB`,
    );
  }
  return { mode, stride, chunkRows, scoresAt, scalesAt, rowsAt, bytes, residentBytes: whole };
}

/** Reads rows of `source` to an address, each padded to the stride. */
function rowLoader(source: VectorSource, memory: ArrayBuffer, layout: Layout) {
  const { dimension } = source;
  const width = layout.stride / 4;
  if (width === dimension) {
    return (address: number, firstRow: number, rows: number) =>
      source.read(new Float32Array(memory, address, rows * dimension), firstRow, rows);
  }
  const floats = new Float32Array(memory);
  const packed = new Float32Array(Math.min(layout.chunkRows, source.count) * dimension);
  return (address: number, firstRow: number, rows: number) => {
    source.read(packed.subarray(0, rows * dimension), firstRow, rows);
    for (let row = 0; row < rows; row++) {
      const from = packed.subarray(row * dimension, (row + 1) * dimension);
      floats.set(from, address / 4 + row * width);
    }
  };
}

/** Loads all rows once. `memoryBytesMax` bounds resident rows, at most 4 GiB. */
export function loadRows(source: VectorSource, memoryBytesMax: number): RowMemory {
  const { dimension, count } = source;
  const layout = planLayout(dimension, count, memoryBytesMax);
  const { mode, stride, scoresAt, scalesAt, rowsAt, bytes } = layout;
  const { memory, kernels } = openKernels(bytes);
  const load = rowLoader(source, memory.buffer, layout);

  function sweep(kernel: Kernel, out: number, reading: boolean): void {
    for (let row = 0; row < count; row += layout.chunkRows) {
      const rows = Math.min(layout.chunkRows, count - row);
      const address = mode === "resident" ? rowsAt + row * stride : rowsAt;
      if (reading) load(address, row, rows);
      kernel(address, rows, 0, stride, out + row * 4, scalesAt + row * 4);
    }
  }
  sweep(kernels.squares, scalesAt, true);

  const query = new Float32Array(memory.buffer, 0, dimension);
  const single = new Float32Array(dimension);
  return {
    mode,
    bytes: memory.buffer.byteLength,
    residentBytes: Math.ceil(layout.residentBytes / WASM_PAGE_BYTES) * WASM_PAGE_BYTES,
    scores: new Float32Array(memory.buffer, scoresAt, count),
    scales: new Float32Array(memory.buffer, scalesAt, count),
    score(metric, components) {
      query.set(components);
      sweep(kernels[metric], scoresAt, mode === "windowed");
    },
    rowAt(row) {
      if (mode === "resident") {
        return new Float32Array(memory.buffer, rowsAt + row * stride, dimension);
      }
      source.read(single, row, 1);
      return single;
    },
  };
}
