import type { Readable } from "node:stream";
import type { GetObjectCommandOutput } from "@aws-sdk/client-s3";

type Answer = Pick<GetObjectCommandOutput, "Body">;

/** The body of an answer: on Node the SDK gives a stream of the socket. Leaving a loop destroys it. */
export async function* bodyOf({ Body }: Answer): AsyncGenerator<Uint8Array> {
  if (Body !== undefined) yield* Body as Readable;
}

/** Gives a body up that nobody will read, and its connection. */
export function stopBody({ Body }: Answer): void {
  const stream = Body as Readable | undefined;
  // What breaks from here on concerns nobody.
  stream?.on("error", () => {});
  stream?.destroy();
}
