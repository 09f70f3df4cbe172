import { close, open as openCallback, type PathLike, read as readCallback } from "node:fs";
import { promisify } from "node:util";
import { SiltError } from "@silt/core";
import { folderError } from "./folder-error.ts";

const open = promisify(openCallback);
const read = promisify(readCallback);

const CHUNK_BYTES = 1024 * 1024;
/** What is read where the file should have ended. */
const END_BYTES = 4096;

/** Closes what was neither read to its end nor given up by its reader. */
const abandoned = new FinalizationRegistry<number>((descriptor) => close(descriptor));

/** Opens a file for reading; the descriptor belongs to the caller. */
export function openDescriptor(path: PathLike): Promise<number> {
  return open(path, "r");
}

/**
 * The bytes of an open file in chunks of 1 MiB, to be read once. The file is closed at the end, when
 * the reader stops, or, for a body that nobody began to read, when it is collected as garbage. A file
 * that is removed meanwhile stays readable.
 */
export function openBody(
  descriptor: number,
  name: string,
  /** How long the file was when it was opened: small files need no large buffers. */
  bytes: number,
): AsyncIterable<Uint8Array> {
  let begun = false;
  let left = bytes;
  const body: AsyncIterable<Uint8Array> = {
    async *[Symbol.asyncIterator]() {
      if (begun)
        throw new SiltError("internal", `Cannot read "${name}": its stream was read before`);
      begun = true;
      abandoned.unregister(body);
      try {
        for (;;) {
          const chunk = Buffer.allocUnsafe(Math.max(END_BYTES, Math.min(left, CHUNK_BYTES)));
          const { bytesRead } = await read(descriptor, chunk, 0, chunk.byteLength, null);
          if (bytesRead === 0) return;
          left -= bytesRead;
          yield chunk.subarray(0, bytesRead);
        }
      } catch (error) {
        throw folderError("read", name, error);
      } finally {
        close(descriptor);
      }
    },
  };
  abandoned.register(body, descriptor, body);
  return body;
}
