/** The node's containers: what a container needs before it starts, is told, and says. */
import { ContainerSpec } from "../agent-protocol.ts";
import { type ContainerBoot, FromContainer, type ToContainer } from "../container/control.ts";
import { DvsError } from "../errors.ts";
import type { ReplicaSet } from "../state/replica-set.ts";
import { containerDirOf, type DataDir } from "./data-dir.ts";
import type { TlsFiles } from "./instance-certificates.ts";
import type { InstanceSecrets } from "./instance-secret.ts";
import type { KernelRelay } from "./kernel-relay.ts";
import { type Live, type SupervisedKind, Supervisor, type SupervisorParts } from "./supervisor.ts";

export interface ContainerParts {
  data: DataDir;
  node: ContainerBoot["node"];
  secrets: InstanceSecrets;
  /** Gets image and certificate. Rejects with a DvsError; INVALID means that trying again is useless. */
  prepare(spec: ContainerSpec, progress: (reason: string) => void): Promise<void>;
  /** What `prepare` got; null: no TCP listener. */
  tlsOf(spec: ContainerSpec): TlsFiles | null;
  /** A container's blob is bad; resolves when it is good again. */
  refetch(spec: ContainerSpec, digest: string): Promise<void>;
  /** What containers say of their kernels, and their ends. */
  kernels: Pick<KernelRelay, "receive" | "unlinked" | "exited" | "found">;
  onKernelLine(id: string, line: string | null): void;
  /** What a container is to know of the replicas of its instance's OS state; null while nothing is known. */
  replicasFor(uid: string): Promise<ReplicaSet | null>;
}

export type ContainerProcesses = Supervisor<ContainerSpec, FromContainer, ToContainer>;

export function containerProcesses(of: ContainerParts, parts: SupervisorParts): ContainerProcesses {
  return new Supervisor(containerKind(of), parts);
}

function containerKind(of: ContainerParts): SupervisedKind<ContainerSpec, FromContainer, ToContainer> {
  const { data, node, secrets, kernels } = of;
  return {
    kind: "container",
    under: data.containers,
    specSchema: ContainerSpec,
    schema: FromContainer,
    preparing: "waits for its image and certificate",
    nameOf: (spec) => `container ${spec.instance}`,
    dirOf: (uid) => containerDirOf(data, uid),
    prepare: (spec, progress) => of.prepare(spec, progress),
    async boot(spec, { incarnation, port }): Promise<ContainerBoot> {
      return {
        spec,
        node,
        incarnation,
        runDir: containerDirOf(data, spec.uid).root,
        blobDir: data.blobs,
        listen: { host: node.address, port },
        tls: of.tlsOf(spec),
        kernelSecret: await secrets.of(spec.uid),
      };
    },
    stop: (graceMs) => ({ type: "stop", graceMs }),
    greeted(process) {
      // It may have started with one that has been renewed since.
      const tls = of.tlsOf(process.record.spec);
      if (tls) process.send({ type: "tls", ...tls });
      void of.replicasFor(process.uid).then((replicas) => {
        if (replicas) process.send({ type: "replicas", replicas });
      });
    },
    receive: (process, message) => receive(of, process, message),
    unlinked: (uid, incarnation) => kernels.unlinked(uid, incarnation),
    exited(uid, { incarnation }, how) {
      if (how === "seen") kernels.exited(uid, incarnation);
      else kernels.found(uid, incarnation);
    },
  };
}

function receive(
  of: ContainerParts,
  process: Live<ContainerSpec, ToContainer>,
  message: FromContainer,
): void {
  switch (message.type) {
    case "stats":
      return process.note({ type: "stats", requests: message.requests });
    case "kernelLine":
      return of.onKernelLine(message.id, message.line);
    case "kernel": {
      const { kernel, state } = message;
      return process.note({ type: "kernel", kernel: { kernel, state } });
    }
    case "badBlob":
      void refetch(of, process, message.digest);
      return;
    case "kernelFollow":
    case "kernelRead":
    case "kernelPropose":
      of.kernels.receive(process.uid, process.record.incarnation, message, (answer) => process.send(answer));
  }
}

async function refetch(
  of: ContainerParts,
  process: Live<ContainerSpec, ToContainer>,
  digest: string,
): Promise<void> {
  try {
    await of.refetch(process.record.spec, digest);
    process.send({ type: "blob", digest, ok: true, reason: "" });
  } catch (e) {
    process.send({ type: "blob", digest, ok: false, reason: DvsError.from(e).message });
  }
}
