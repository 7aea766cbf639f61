/**
 * Stands for `dvs container`, `dvs state` and `dvs ingress`: speaks the control protocol and nothing else. A container does what
 * its options say; each writes to the witness file, so that a test sees every process that ever ran, and whether
 * two of one container ever lived at the same time.
 */
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";

const [kind, , runDir = ""] = process.argv.slice(2);

function startTimeOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
}

/** A line per process: pid, start time, incarnation, and whether an earlier one still lived. */
function witness(path: string, incarnation: string): void {
  const earlier = existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
  const living = earlier.filter((line) => {
    const [pid = "", startTime = ""] = line.split(" ");
    return line !== "" && startTimeOf(Number(pid)) === startTime;
  });
  const double = living.length > 0 ? " DOUBLE" : "";
  appendFileSync(path, `${process.pid} ${startTimeOf(process.pid)} ${incarnation}${double}\n`);
}

/** What came; where the disk of the test is full it is not noted, and nothing ends by that. */
function note(path: string, line: string): void {
  try {
    appendFileSync(path, line);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== "ENOSPC") throw e;
  }
}

function serve(
  path: string,
  greeting: () => unknown[],
  onMessage: (message: Record<string, unknown>) => void,
): (message: unknown) => void {
  const links = new Set<Socket>();
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    links.add(socket);
    socket.on("close", () => links.delete(socket));
    socket.on("error", () => links.delete(socket));
    let rest = "";
    socket.on("data", (bytes: Buffer) => {
      const lines = (rest + bytes.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) onMessage(JSON.parse(line) as Record<string, unknown>);
    });
    for (const message of greeting()) socket.write(`${JSON.stringify(message)}\n`);
  });
  server.listen(path);
  return (message) => {
    for (const socket of links) socket.write(`${JSON.stringify(message)}\n`);
  };
}

function runContainer(): void {
  const boot = JSON.parse(readFileSync(join(runDir, "boot.json"), "utf8")) as {
    incarnation: string;
    listen: { port: number };
    spec: { uid: string; generation: number; options: Record<string, unknown> };
  };
  const { spec, incarnation } = boot;
  const options = spec.options as {
    witness: string;
    crash?: boolean;
    permanent?: boolean;
    never?: boolean;
    deaf?: boolean;
    badBlob?: string;
    stubborn?: boolean;
  };
  witness(options.witness, incarnation);
  console.log(`line of ${incarnation}`);
  if (options.crash) process.exit(3);
  process.on("SIGTERM", () => {
    if (!options.stubborn) process.exit(0);
  });
  if (options.deaf) {
    setInterval(() => {}, 1_000);
    return;
  }
  const port = boot.listen.port || 20_000 + (process.pid % 10_000);
  const hello = { type: "hello", uid: spec.uid, incarnation, generation: spec.generation, pid: process.pid };
  const failed = { type: "state", state: "failed", reason: "bad option x", permanent: true, port: 0 };
  const starting = { type: "state", state: "starting", reason: "boots", permanent: false, port: 0 };
  const ready = { type: "state", state: "ready", reason: "", permanent: false, port };
  const state = options.permanent ? failed : options.never ? starting : ready;
  let asked = false;
  const broadcast = serve(
    join(runDir, "control.sock"),
    () => [hello, state],
    (message) => {
      note(`${options.witness}.messages`, `${spec.uid} ${JSON.stringify(message)}\n`);
      if (message["type"] === "stop" && !options.stubborn) process.exit(0);
      if (options.badBlob && !asked) {
        asked = true;
        broadcast({ type: "badBlob", digest: options.badBlob });
      }
    },
  );
  if (options.permanent) setTimeout(() => process.exit(2), 300);
}

/** Its disk is a file; SIGUSR1 lets it ask, SIGUSR2 propose itself. */
function runState(): void {
  const boot = JSON.parse(readFileSync(join(runDir, "boot.json"), "utf8")) as {
    uid: string;
    incarnation: string;
    dataDir: string;
  };
  const { uid, incarnation, dataDir } = boot;
  const log = join(dataDir, "..", "..", `witness-state-${uid}`);
  witness(log, incarnation);
  const diskFile = join(dataDir, "disk");
  if (!existsSync(diskFile)) writeFileSync(diskFile, crypto.randomUUID().replaceAll("-", ""));
  const disk = readFileSync(diskFile, "utf8");
  const port = 30_000 + (process.pid % 10_000);
  const hello = { type: "hello", uid, incarnation, disk, pid: process.pid };
  const ready = { type: "state", state: "ready", reason: "", permanent: false, port };
  const figures = { index: 7, committed: 6, applied: 6, diskBytes: 4_096 };
  const status = { role: "learner", serving: false, epoch: 1, ...figures, durability: "fsync", problem: "" };
  const broadcast = serve(
    join(runDir, "control.sock"),
    () => [hello, ready, { type: "status", ...status }],
    (message) => {
      note(`${log}.messages`, `state-${uid} ${JSON.stringify(message)}\n`);
      if (message["type"] === "stop") process.exit(0);
    },
  );
  process.on("SIGTERM", () => process.exit(0));
  process.on("SIGUSR1", () => broadcast({ type: "ask" }));
  process.on("SIGUSR2", () => {
    const primary = { disk, incarnation };
    const configuration = { epoch: 1, generation: 1, primary, inSync: [disk], changeId: "change-of-test" };
    broadcast({ type: "propose", change: { generation: 1, version: 0, configuration } });
  });
}

function runIngress(): void {
  witness(join(runDir, "..", "ingress-witness"), "-");
  process.on("SIGTERM", () => process.exit(0));
  let ports: unknown[] = [];
  const broadcast = serve(
    join(runDir, "ingress.sock"),
    () => [
      { type: "hello", pid: process.pid, incarnation: String(process.pid) },
      { type: "ports", ports },
    ],
    (message) => {
      if (message["type"] === "stop") process.exit(0);
      const table = message["table"] as { routes: { port: number; uid: string }[] };
      // Beside and renamed, so that a test never reads half of it.
      writeFileSync(join(runDir, "..", "table.json"), JSON.stringify(table));
      ports = table.routes.map(({ port, uid }) => ({ port, uid, state: "open", reason: "" }));
      broadcast({ type: "ports", ports });
    },
  );
}

if (kind === "container") runContainer();
else if (kind === "state") runState();
else runIngress();
