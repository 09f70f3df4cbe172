/** A process that runs batches of schedules as it is told, until its parent lets it go. */
import { type Batch, runBatch } from "./run-batch.ts";

// Most errors of a schedule are part of it; nobody reads where they were made.
Error.stackTraceLimit = 0;

process.on("message", (batch: Batch) => {
  runBatch(batch).then(
    (report) => process.send?.({ report }),
    (error: unknown) => process.send?.({ failed: String(error) }),
  );
});
process.on("disconnect", () => process.exit(0));
