import { describe, expect, it } from "vitest";
import { readEnv } from "./env.ts";

const STORE = "s3://bucket/silt?table=log&queue=compaction";

describe("readEnv()", () => {
  it("needs a store alone", () => {
    expect(readEnv({ SILT_STORE: STORE })).toEqual({
      store: STORE,
      location: {
        kind: "aws",
        bucket: "bucket",
        prefix: "silt/",
        table: "log",
        queue: "compaction",
      },
      collections: [],
      cacheFolder: "/tmp/silt-cache",
      cacheBytesMax: undefined,
      vectorBytesMax: undefined,
      textEmbedder: undefined,
      imageEmbedder: undefined,
      pipeline: "auto",
      marginMs: 10_000,
      diskBytes: undefined,
      isTraced: false,
    });
  });

  it("takes everything else as text", () => {
    const collections = [
      { name: "notes", dimension: 3, metric: "l2", shards: 2, policy: "single" },
    ];
    const env = readEnv({
      SILT_STORE: STORE,
      SILT_COLLECTIONS: JSON.stringify(collections),
      SILT_CACHE: "/mnt/cache",
      SILT_CACHE_BYTES: "2147483648",
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: "1024",
      SILT_TEXT_EMBEDDER: "use-lite",
      SILT_IMAGE_EMBEDDER: "image-descriptor",
      SILT_PIPELINE: "text",
      SILT_MARGIN_MS: "2000",
      SILT_DISK_BYTES: "1073741824",
      AWS_XRAY_DAEMON_ADDRESS: "169.254.79.129:2000",
    });
    expect(env).toMatchObject({
      collections,
      cacheFolder: "/mnt/cache",
      cacheBytesMax: 2_147_483_648,
      vectorBytesMax: 536_870_912,
      textEmbedder: "use-lite",
      imageEmbedder: "image-descriptor",
      pipeline: "text",
      marginMs: 2_000,
      diskBytes: 1_073_741_824,
      isTraced: true,
    });
  });

  it.each([
    [{}, "SILT_STORE"],
    [{ SILT_STORE: "" }, "location is empty"],
    [{ SILT_STORE: "s3://bucket" }, "table"],
    [{ SILT_COLLECTIONS: "{" }, "SILT_COLLECTIONS: it is not JSON"],
    [{ SILT_COLLECTIONS: '[{"name":"a","colour":1}]' }, "SILT_COLLECTIONS.0"],
    [{ SILT_COLLECTIONS: '[{"name":"a","metric":"dot"}]' }, "SILT_COLLECTIONS.0.metric"],
    [{ SILT_PIPELINE: "ocr" }, "SILT_PIPELINE"],
    [{ SILT_MARGIN_MS: "soon" }, "SILT_MARGIN_MS"],
    [{ SILT_DISK_BYTES: "0" }, "SILT_DISK_BYTES"],
    [{ SILT_CACHE_BYTES: "-1" }, "SILT_CACHE_BYTES"],
  ])("refuses %j", (wrong, reason) => {
    const from =
      "SILT_STORE" in wrong || reason === "SILT_STORE" ? wrong : { SILT_STORE: STORE, ...wrong };
    expect(() => readEnv(from)).toThrow(reason);
  });
});
