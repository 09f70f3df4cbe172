import type { AwsUsage } from "@silt/aws";

/** What one invocation asked of AWS, by `service.operation`. */
export type UsageTotals = Readonly<Record<string, Omit<AwsUsage, "service" | "operation">>>;

/** Adds up the calls of an invocation: what docs/COST.md is reckoned from. */
export class UsageTally {
  #totals = new Map<string, Omit<AwsUsage, "service" | "operation">>();

  readonly add = ({ service, operation, ...usage }: AwsUsage): void => {
    const name = `${service}.${operation}`;
    const before = this.#totals.get(name);
    this.#totals.set(name, {
      requests: usage.requests + (before?.requests ?? 0),
      bytesSent: usage.bytesSent + (before?.bytesSent ?? 0),
      bytesReceived: usage.bytesReceived + (before?.bytesReceived ?? 0),
      readUnits: usage.readUnits + (before?.readUnits ?? 0),
      writeUnits: usage.writeUnits + (before?.writeUnits ?? 0),
    });
  };

  /** The totals since the last time; undefined when nothing was asked. */
  take(): UsageTotals | undefined {
    const totals = this.#totals;
    this.#totals = new Map();
    return totals.size === 0 ? undefined : Object.fromEntries(totals);
  }
}
