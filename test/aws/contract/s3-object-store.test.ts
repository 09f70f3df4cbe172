import { createS3ObjectStore } from "@silt/aws";
import { systemClock, systemRandom } from "@silt/local";
import { type OpenedObjectStore, objectStoreContract } from "@silt/testkit";
import { newBucket, rootClients } from "../test-account.fixture.ts";

const MIB = 1024 * 1024;
/** S3's least: the 5 MB objects of the suite go in two parts, and come in five ranges. */
const PARTS = { singlePutBytesMax: MIB, partBytesMin: 5 * MIB, readBytes: MIB };

async function openIn(prefix: string, limits = {}): Promise<OpenedObjectStore> {
  const clients = rootClients();
  const bucket = await newBucket(clients);
  const store = createS3ObjectStore(
    { client: clients.s3, bucket, prefix, limits },
    { clock: systemClock, random: systemRandom },
  );
  return { store, dispose: async () => clients[Symbol.dispose]() };
}

objectStoreContract("S3", () => openIn("stores/one/"));
objectStoreContract("S3, a whole bucket, in parts and ranges", () => openIn("", PARTS));
