import {
  createMemoryHintQueue,
  createMemoryLeaseStore,
  createMemoryObjectStore,
  createMemoryRunLog,
  createVirtualClock,
  hintQueueContract,
  leaseStoreContract,
  objectStoreContract,
  runLogContract,
} from "@silt/testkit";

const dispose = async () => {};

objectStoreContract("memory", async () => ({
  store: createMemoryObjectStore(createVirtualClock()),
  dispose,
}));
runLogContract("memory", async () => ({ log: createMemoryRunLog(), dispose }));
leaseStoreContract("memory", async (clock) => ({ leases: createMemoryLeaseStore(clock), dispose }));
hintQueueContract("memory", async () => ({ hints: createMemoryHintQueue(), dispose }));
