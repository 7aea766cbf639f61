/**
 * Every command: its words, its summary and where its code is. The summaries stand here and not in the commands'
 * files, so that `dvs --help` loads none of them. A new command is one file and one line.
 */
import type { Command } from "./command.ts";

export interface Leaf {
  summary: string;
  hidden?: boolean;
  load(): Promise<{ default: Command }>;
}
export interface Group {
  summary: string;
  commands: Record<string, Leaf>;
}
export type Entry = Leaf | Group;

export const isGroup = (entry: Entry): entry is Group => "commands" in entry;

export const commands: Record<string, Entry> = {
  up: { summary: "Start a development cluster on this machine", load: () => import("./commands/up.ts") },
  down: { summary: "End the development cluster", load: () => import("./commands/down.ts") },
  status: {
    summary: "Show the cluster: coordinator, nodes, instances, warnings",
    load: () => import("./commands/status.ts"),
  },
  instance: {
    summary: "Instances: one VOS spread over several nodes",
    commands: {
      create: {
        summary: "Create an instance and wait until it runs",
        load: () => import("./commands/instance/create.ts"),
      },
      ls: { summary: "List instances", load: () => import("./commands/instance/ls.ts") },
      inspect: {
        summary: "Show all about an instance",
        load: () => import("./commands/instance/inspect.ts"),
      },
      ps: {
        summary: "Show an instance's containers, or the endpoints of its kernels",
        load: () => import("./commands/instance/ps.ts"),
      },
      start: { summary: "Start a stopped instance", load: () => import("./commands/instance/start.ts") },
      stop: {
        summary: "Stop an instance; it keeps its name, ports and places",
        load: () => import("./commands/instance/stop.ts"),
      },
      backup: {
        summary: "Write the state of an instance to a file",
        load: () => import("./commands/instance/backup.ts"),
      },
      restore: {
        summary: "Replace the state of an instance by a backup",
        load: () => import("./commands/instance/restore.ts"),
      },
      recover: {
        summary: "Go on from one replica of an instance's state, and lose what it lacks",
        load: () => import("./commands/instance/recover.ts"),
      },
      mount: {
        summary: "Mount the file system of an instance on a directory of one of its nodes",
        load: () => import("./commands/instance/mount.ts"),
      },
      umount: {
        summary: "Take a mounted instance away from its directory",
        load: () => import("./commands/instance/umount.ts"),
      },
      rm: { summary: "Remove instances", load: () => import("./commands/instance/rm.ts") },
      logs: {
        summary: "Show what an instance logs, from all its nodes",
        load: () => import("./commands/instance/logs.ts"),
      },
    },
  },
  image: {
    summary: "Images: immutable trees of files from which instances boot",
    commands: {
      build: {
        summary: "Make an image of a directory and send what is new of it",
        load: () => import("./commands/image/build.ts"),
      },
      ls: { summary: "List images", load: () => import("./commands/image/ls.ts") },
      rm: { summary: "Remove images", load: () => import("./commands/image/rm.ts") },
    },
  },
  node: {
    summary: "Nodes: the machines of the cluster",
    commands: {
      join: {
        summary: "Make this machine a node and run its agent",
        load: () => import("./commands/node/join.ts"),
      },
      start: {
        summary: "Run the agent of a machine that has joined before",
        load: () => import("./commands/node/start.ts"),
      },
      ls: { summary: "List nodes", load: () => import("./commands/node/ls.ts") },
      inspect: { summary: "Show all about a node", load: () => import("./commands/node/inspect.ts") },
      leave: {
        summary: "Move everything off a node and take it out of the cluster",
        load: () => import("./commands/node/leave.ts"),
      },
      rm: { summary: "Forget nodes that are gone", load: () => import("./commands/node/rm.ts") },
    },
  },
  token: {
    summary: "Tokens: for nodes that join, and for people and programs",
    commands: {
      create: {
        summary: "Create a join token or an API token",
        load: () => import("./commands/token/create.ts"),
      },
      ls: { summary: "List tokens", load: () => import("./commands/token/ls.ts") },
      rm: { summary: "Revoke tokens", load: () => import("./commands/token/rm.ts") },
    },
  },
  coordinator: {
    summary: "Coordinator: keeps what the cluster is meant to do",
    commands: {
      start: {
        summary: "Run a coordinator and print how nodes join",
        load: () => import("./commands/coordinator/start.ts"),
      },
      ls: { summary: "List the coordinators", load: () => import("./commands/coordinator/ls.ts") },
      rm: {
        summary: "Forget coordinators that are gone",
        load: () => import("./commands/coordinator/rm.ts"),
      },
      backup: {
        summary: "Write all that the coordinators know into a file",
        load: () => import("./commands/coordinator/backup.ts"),
      },
      recover: {
        summary: "Bring a coordinator back whose store was lost or set back",
        load: () => import("./commands/coordinator/recover.ts"),
      },
    },
  },
  kv: {
    summary: "The replicated key-value of an instance",
    commands: {
      get: { summary: "Print a key's value", load: () => import("./commands/kv/get.ts") },
      put: { summary: "Set a key's value", load: () => import("./commands/kv/put.ts") },
      cas: {
        summary: "Set a key's value if it has not changed",
        load: () => import("./commands/kv/cas.ts"),
      },
      rm: { summary: "Remove a key", load: () => import("./commands/kv/rm.ts") },
      ls: { summary: "List keys and values", load: () => import("./commands/kv/ls.ts") },
      watch: { summary: "Show changes as they happen", load: () => import("./commands/kv/watch.ts") },
    },
  },
  ls: { summary: "List files of an instance", load: () => import("./commands/files/ls.ts") },
  cat: { summary: "Print files of an instance", load: () => import("./commands/files/cat.ts") },
  cp: {
    summary: "Copy files and directories to and from an instance",
    load: () => import("./commands/files/cp.ts"),
  },
  mv: { summary: "Rename files of an instance", load: () => import("./commands/files/mv.ts") },
  rm: { summary: "Remove files of an instance", load: () => import("./commands/files/rm.ts") },
  mkdir: { summary: "Make directories in an instance", load: () => import("./commands/files/mkdir.ts") },
  df: {
    summary: "Show how full instances' file systems are",
    load: () => import("./commands/files/df.ts"),
  },
  quota: {
    summary: "Limit what an instance's files may take",
    load: () => import("./commands/files/quota.ts"),
  },
  trace: { summary: "Show the messages of an endpoint", load: () => import("./commands/trace.ts") },
  events: { summary: "Show what happened in the cluster", load: () => import("./commands/events.ts") },
  config: {
    summary: "Configuration files",
    commands: {
      check: {
        summary: "Check a configuration file; every mistake at once",
        load: () => import("./commands/config/check.ts"),
      },
      schema: {
        summary: "Print a configuration file's JSON Schema",
        load: () => import("./commands/config/schema.ts"),
      },
    },
  },
  plugin: {
    summary: "Plugins: the VOSes that instances can run",
    commands: {
      ls: { summary: "List the VOSes that this dvs knows", load: () => import("./commands/plugin/ls.ts") },
    },
  },
  version: { summary: "Print the version", load: () => import("./commands/version.ts") },
  container: {
    summary: "One container of an instance; started by the agent",
    hidden: true,
    load: () => import("./commands/container.ts"),
  },
  state: {
    summary: "A replica of an instance's OS state; started by the agent",
    hidden: true,
    load: () => import("./commands/state.ts"),
  },
  mount: {
    summary: "A mounted instance; started by `dvs instance mount`",
    hidden: true,
    load: () => import("./commands/mount.ts"),
  },
  ingress: {
    summary: "A node's published ports; started by the agent",
    hidden: true,
    load: () => import("./commands/ingress.ts"),
  },
  "state-helper": {
    summary: "Snapshots of a replica's database; started by its state process",
    hidden: true,
    load: () => import("./commands/state-helper.ts"),
  },
};
