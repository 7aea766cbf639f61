/**
 * What lies where in a node's data directory. All of it is mode 0700: it holds keys, and sockets that give power.
 *
 *   agent.lock         held by the one agent that runs here; agent.pid is its pid
 *   agent.json         pid and start time of that agent, for people and `dvs down`
 *   identity.json      which cluster and node this is; written last by a join
 *   certificates.json  the node's key and certificate, the authorities
 *   join-key.json      key and request of a join whose answer has not come yet
 *   desired.json       the last Desired, so that a node starts without a coordinator
 *   blobs/             files of images, by digest
 *   run/ingress.sock   and ingress.json, ingress.log: the ingress process
 *   run/clients.sock   the agent's, for mounts
 *   run/m/             logs of mounts
 *   run/c/<uid>/       one container: boot.json, process.json, tls.json, sockets, logs
 *   run/s/<uid>/       one state process: the same
 *   run/i/<uid>/       what the host processes of an instance on this node share: secret.json, replicas.json
 *   state/<uid>/       the replica of an instance's OS state, its state process's own; outlives everything above
 *   state/<uid>.json   which store has named that replica: see state-data.ts
 */
import { join } from "node:path";
import { z } from "zod";
import { DvsError } from "../errors.ts";
import { stateSockets } from "../state/boot.ts";

/** A container's uid becomes a directory name: what the coordinator sends is held to this. */
export const Uid = z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}$/, "must be usable as a directory name");

export interface DataDir {
  root: string;
  agent: string;
  identity: string;
  certificates: string;
  joinKey: string;
  desired: string;
  blobs: string;
  run: string;
  ingressSocket: string;
  ingressIntent: string;
  ingressLog: string;
  clientsSocket: string;
  mounts: string;
  containers: string;
  stateProcesses: string;
  instances: string;
  state: string;
}

/** Of one host process that an agent supervises. */
export interface ProcessDir {
  root: string;
  boot: string;
  process: string;
  tls: string;
  controlSocket: string;
  /** All that it listens on. */
  sockets: string[];
  log: string;
}

export interface ContainerDir extends ProcessDir {
  httpSocket: string;
  accessLog: string;
}

export interface StateDir extends ProcessDir {
  linkSocket: string;
  transferSocket: string;
  /** Not below `root`. */
  data: string;
}

export interface InstanceDir {
  root: string;
  secret: string;
  replicas: string;
}

export function dataDirOf(root: string): DataDir {
  const run = join(root, "run");
  return {
    root,
    agent: join(root, "agent.json"),
    identity: join(root, "identity.json"),
    certificates: join(root, "certificates.json"),
    joinKey: join(root, "join-key.json"),
    desired: join(root, "desired.json"),
    blobs: join(root, "blobs"),
    run,
    ingressSocket: join(run, "ingress.sock"),
    ingressIntent: join(run, "ingress.json"),
    ingressLog: join(run, "ingress.log"),
    clientsSocket: join(run, "clients.sock"),
    mounts: join(run, "m"),
    containers: join(run, "c"),
    stateProcesses: join(run, "s"),
    instances: join(run, "i"),
    state: join(root, "state"),
  };
}

export function containerDirOf(data: DataDir, uid: string): ContainerDir {
  const root = join(data.containers, uid);
  const httpSocket = join(root, "http.sock");
  return {
    ...processDirOf(root, "container.log", [httpSocket]),
    httpSocket,
    accessLog: join(root, "access.log"),
  };
}

export function stateDirOf(data: DataDir, uid: string): StateDir {
  const root = join(data.stateProcesses, uid);
  const linkSocket = join(root, stateSockets.links);
  const transferSocket = join(root, stateSockets.transfer);
  return {
    ...processDirOf(root, "state.log", [linkSocket, transferSocket]),
    linkSocket,
    transferSocket,
    data: join(data.state, uid),
  };
}

export function instanceDirOf(data: DataDir, uid: string): InstanceDir {
  const root = join(data.instances, uid);
  return { root, secret: join(root, "secret.json"), replicas: join(root, "replicas.json") };
}

function processDirOf(root: string, log: string, sockets: string[]): ProcessDir {
  const controlSocket = join(root, "control.sock");
  return {
    root,
    boot: join(root, "boot.json"),
    process: join(root, "process.json"),
    tls: join(root, "tls.json"),
    controlSocket,
    sockets: [controlSocket, ...sockets],
    log: join(root, log),
  };
}

/** `sun_path` of Linux has 108 bytes, the last of them zero. */
const socketPathBytesMax = 107;
/** Room that a container's socket needs below the data directory. */
const uidCharsUsual = 26;

/** Throws INVALID when sockets below this directory would have names that the kernel cannot take. */
export function checkSocketPaths(root: string): void {
  const data = dataDirOf(root);
  const uid = "u".repeat(uidCharsUsual);
  const sockets = [...containerDirOf(data, uid).sockets, ...stateDirOf(data, uid).sockets];
  const over = Math.max(...sockets.map((path) => Buffer.byteLength(path))) - socketPathBytesMax;
  if (over <= 0) return;
  throw new DvsError(
    "INVALID",
    `Cannot use data directory ${root}: its path is ${over} bytes too long for Unix sockets in it ` +
      `(at most ${Buffer.byteLength(root) - over}). Choose a shorter --data.`,
  );
}
