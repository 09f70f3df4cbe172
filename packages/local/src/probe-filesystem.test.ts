import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { networkFilesystemOf, probeLinks, refuseNetworkFilesystem } from "./probe-filesystem.ts";
import { temporaryFolder } from "./temporary-store.fixture.ts";

describe("refuseNetworkFilesystem()", () => {
  it("refuses NFS, SMB and the like with advice", () => {
    for (const type of [0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x00c36400]) {
      expect(() => refuseNetworkFilesystem("/mnt/x", () => type)).toThrow(/network.*use s3:/);
    }
    // CIFS as machines with a signed field report it.
    expect(networkFilesystemOf(-11317950)).toBe("CIFS");
  });

  it("accepts ext4, tmpfs, btrfs, XFS, overlay and the disk of this test", () => {
    for (const type of [0xef53, 0x01021994, 0x9123683e, 0x58465342, 0x794c7630]) {
      expect(networkFilesystemOf(type)).toBeUndefined();
    }
    using folder = temporaryFolder();
    expect(() => refuseNetworkFilesystem(folder.path)).not.toThrow();
  });

  it("a folder that cannot be asked is unavailable", () => {
    const ask = () => refuseNetworkFilesystem("/nowhere/at/all");
    expect(ask).toThrow(expect.objectContaining({ kind: "unavailable" }));
  });
});

describe("probeLinks()", () => {
  it("accepts a local disk and leaves nothing behind", () => {
    using folder = temporaryFolder();
    mkdirSync(join(folder.path, "tmp"));
    probeLinks(folder.path);
    expect(readdirSync(join(folder.path, "tmp"))).toEqual([]);
  });
});
