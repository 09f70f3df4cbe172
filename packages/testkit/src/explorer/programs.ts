/** The actors of an exploration: each runs the real code of core. */
import {
  collectShard,
  compactShard,
  deleteWhere,
  type PinOptions,
  pinVersion,
  rollbackShard,
  type SegmentContent,
  ShardReader,
  type SnapshotManifest,
  writeDeltas,
} from "@silt/core";
import { applyRun, type ReferenceModel } from "../reference-model.ts";
import { decodeContent } from "../simulator/fold-engine.ts";
import type { Prepared } from "./configuration.ts";
import type { Program } from "./local-states.ts";

/** Writes one content, once. */
export function writer(
  { identity, shard }: Prepared,
  name: string,
  content: SegmentContent,
): Program {
  const part = { shard: shard.shard, content, bytes: 1 };
  const source = `file:///${name}`;
  const run: Program["run"] = (ports) => writeDeltas(ports, identity, [part], { source });
  return { name, role: "writer", run };
}

/** Takes a hint, if there is one, and compacts once. */
export function compactor({ identity, policy, shard }: Prepared, name: string): Program {
  const run: Program["run"] = async (ports) => {
    await ports.hints.receive(1);
    return compactShard(ports, identity, policy, shard, { holder: name });
  };
  return { name, role: "compactor", run };
}

/** One pass that deletes. */
export function collector({ identity, shard }: Prepared, name: string): Program {
  const options = { holder: name, delete: true };
  return { name, role: "collector", run: (ports) => collectShard(ports, identity, shard, options) };
}

export function rollback(
  { identity, policy, shard }: Prepared,
  name: string,
  toVersion: number,
): Program {
  const options = { holder: name, toVersion };
  const run: Program["run"] = (ports) => rollbackShard(ports, identity, policy, shard, options);
  return { name, role: "rollback", run, target: toVersion };
}

export function pinner({ shard }: Prepared, name: string, version: number): Program {
  const options: PinOptions = { owner: name, reason: "explored" };
  const run: Program["run"] = (ports) => pinVersion(ports, shard, version, options);
  return { name, role: "pin", run, target: version };
}

/** Deletes all records of which the document is `document`, by a fresh read. */
export function deleter({ identity, shard }: Prepared, name: string, document: string): Program {
  const run: Program["run"] = (ports) => {
    const open = async (manifest: SnapshotManifest) => {
      const model: ReferenceModel = new Map();
      for (const { object } of manifest.segments) {
        const found = await ports.objects.read(object.key);
        if (found.outcome === "absent") return undefined;
        for await (const bytes of found.body) applyRun(model, decodeContent(bytes));
      }
      return { manifest, model, retain: () => () => {} };
    };
    const reader = new ShardReader(ports, { ...shard, vectors: identity.vectors }, { open });
    return deleteWhere(ports, identity, {
      views: async () => [await reader.view({ fresh: true })],
      matching: ({ snapshot, overlay }) => {
        const model = new Map(snapshot.model);
        if (overlay !== undefined) applyRun(model, overlay);
        return [...model].flatMap(([id, record]) => (record.document === document ? [id] : []));
      },
    });
  };
  return { name, role: "deleter", run };
}
