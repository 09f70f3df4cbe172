import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock, SegmentEngine } from "@silt/core";
import { openLocalPorts } from "@silt/local";
import {
  createSeededRandom,
  createVirtualClock,
  hintQueueContract,
  leaseStoreContract,
  objectStoreContract,
  runLogContract,
  silentLogger,
  silentMetrics,
} from "@silt/testkit";

const noEngine: SegmentEngine = {
  openWorkbench: () => Promise.reject(new Error("these suites need no engine")),
};

async function openTemporary(clock: Clock = createVirtualClock({ sleeps: "skip" })) {
  const root = await mkdtemp(join(tmpdir(), "silt-local-"));
  const ports = await openLocalPorts(root, {
    create: true,
    engine: noEngine,
    logger: silentLogger,
    metrics: silentMetrics,
    clock,
    random: createSeededRandom(1),
  });
  const dispose = async () => {
    await ports[Symbol.asyncDispose]();
    await rm(root, { recursive: true, force: true });
  };
  return { ports, dispose };
}

objectStoreContract("local", async () => {
  const { ports, dispose } = await openTemporary();
  return { store: ports.objects, dispose };
});
runLogContract("local", async () => {
  const { ports, dispose } = await openTemporary();
  return { log: ports.log, dispose };
});
leaseStoreContract("local", async (clock) => {
  const { ports, dispose } = await openTemporary(clock);
  return { leases: ports.leases, dispose };
});
hintQueueContract("local", async () => {
  const { ports, dispose } = await openTemporary();
  return { hints: ports.hints, dispose };
});
