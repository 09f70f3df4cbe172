/** The explorer's world is an adapter like any other: what it says of a store holds for the ports of core. */
import {
  createVirtualClock,
  EMPTY_WORLD,
  hintQueueContract,
  leaseStoreContract,
  objectStoreContract,
  type Perform,
  runLogContract,
  Vocabulary,
  worldAdapters,
} from "@silt/testkit";

/** Each call happens at once. */
function immediately() {
  const vocabulary = new Vocabulary();
  let world = EMPTY_WORLD;
  const perform: Perform = async (call) => {
    const step = call.apply(world);
    world = step.world;
    return step.value();
  };
  return { vocabulary, perform };
}

const dispose = async () => {};

objectStoreContract("explorer", async () => {
  const { vocabulary, perform } = immediately();
  const clock = createVirtualClock();
  return { store: worldAdapters(vocabulary, clock.nowMs, perform).objects, dispose };
});
runLogContract("explorer", async () => {
  const { vocabulary, perform } = immediately();
  return { log: worldAdapters(vocabulary, () => 0, perform).log, dispose };
});
leaseStoreContract("explorer", async ({ nowMs }) => {
  const { vocabulary, perform } = immediately();
  return { leases: worldAdapters(vocabulary, nowMs, perform).leases, dispose };
});
hintQueueContract("explorer", async () => {
  const { vocabulary, perform } = immediately();
  return { hints: worldAdapters(vocabulary, () => 0, perform).hints, dispose };
});
