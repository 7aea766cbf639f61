/** Boots the VOS that boot.json names, on the host that dvs gives it. */
import { DvsError, parseOrThrow } from "../errors.ts";
import { openImage } from "../image/reader.ts";
import {
  type ImageReader,
  needsOf,
  type Vos,
  type VosHost,
  type VosKernel,
  type VosRegistry,
  type VosState,
} from "../vos.ts";
import type { ContainerBoot } from "./control.ts";

export interface VosServices {
  log: VosHost["log"];
  accessLog: VosHost["accessLog"];
  /** Waits until a blob that is missing or corrupted is good again. */
  repairBlob(digest: string): Promise<void>;
  /** Called where the VOS needs a kernel. */
  kernel(options: { servesFrozen: boolean }): VosKernel;
  /** Called where the VOS keeps state. */
  state(): Promise<VosState>;
}

/**
 * Rejects with INVALID when trying again cannot help: no such OS, options that its schema refuses, an image missing
 * where it needs one.
 */
export async function bootVos(
  boot: ContainerBoot,
  registry: VosRegistry,
  services: VosServices,
): Promise<Vos> {
  const { spec } = boot;
  const plugin = await registry.load(spec.os);
  if (!plugin) {
    throw new DvsError(
      "INVALID",
      `Cannot boot instance "${spec.instance}": no OS "${spec.os}" here. Known: ${registry.names().join(", ")}.`,
    );
  }
  const options: unknown = parseOrThrow(
    plugin.options,
    spec.options,
    `options of instance "${spec.instance}" (OS ${spec.os})`,
  );
  if (spec.image === null && plugin.image === "required") {
    throw new DvsError("INVALID", `Cannot boot instance "${spec.instance}": OS ${spec.os} needs an image.`);
  }
  let image: ImageReader | null = null;
  if (spec.image !== null && plugin.image !== "none") {
    const onBadBlob = (digest: string) => services.repairBlob(digest);
    image = await openImage({ blobDir: boot.blobDir, digest: spec.image, onBadBlob });
  }
  const needs = needsOf(plugin, options);
  const { kernel: needsKernel = false, state: needsState = false, servesFrozen = false } = needs;
  const host: VosHost = {
    tenant: spec.tenant,
    instance: spec.instance,
    uid: spec.uid,
    node: { id: boot.node.id, name: boot.node.name },
    incarnation: boot.incarnation,
    image,
    kernel: needsKernel ? services.kernel({ servesFrozen }) : null,
    state: needsState ? await services.state() : null,
    log: services.log,
    accessLog: services.accessLog,
  };
  return plugin.boot(host, options);
}
