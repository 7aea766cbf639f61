/** Starts real containers in temporary directories, and speaks HTTP and the control protocol with them. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ContainerBoot, FromContainer, ToContainer } from "../../../core/container/control.ts";
import { ask, type Answer, type Ask } from "./raw-http.ts";
import { writeImage, type Tree } from "./test-image.ts";

const host = new URL("host.ts", import.meta.url).pathname;

/** An agent's link. */
export class Link {
  readonly messages: FromContainer[] = [];
  closed = false;
  readonly #socket: Socket;
  #rest = "";
  #wake: (() => void) | undefined;

  constructor(path: string) {
    this.#socket = connect({ path });
    this.#socket.on("data", (bytes) => {
      const lines = (this.#rest + bytes.toString()).split("\n");
      this.#rest = lines.pop() ?? "";
      this.messages.push(...lines.map((line) => JSON.parse(line) as FromContainer));
      this.#wake?.();
    });
    this.#socket.on("error", () => undefined);
    this.#socket.on("close", () => {
      this.closed = true;
      this.#wake?.();
    });
  }

  send(message: ToContainer | { type: "unknown" }): void {
    this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  raw(text: string): void {
    this.#socket.write(text);
  }

  close(): void {
    this.#socket.destroy();
  }

  /** The first message, past or coming, that fits; rejects when the link ends before. */
  async until(fits: (message: FromContainer) => boolean): Promise<FromContainer> {
    for (;;) {
      const found = this.messages.find(fits);
      if (found) return found;
      if (this.closed) throw new Error(`link closed; it said ${JSON.stringify(this.messages)}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

export class TestContainer {
  readonly runDir: string;
  readonly boot: ContainerBoot;
  readonly httpSocket: { socketPath: string };
  process: ChildProcess | undefined;
  exited: Promise<number | null> = Promise.resolve(null);
  stderr = "";
  readonly #spawned: { child: ChildProcess; closed: Promise<unknown> }[] = [];

  constructor(boot: Partial<Omit<ContainerBoot, "spec">> & { spec?: Partial<ContainerBoot["spec"]> } = {}) {
    this.runDir = mkdtempSync(join(tmpdir(), "dvs-"));
    const { spec, ...rest } = boot;
    this.boot = {
      node: { id: "n1", name: "node-1", address: "127.0.0.1" },
      incarnation: "i1",
      runDir: this.runDir,
      blobDir: join(this.runDir, "blobs"),
      listen: { host: "127.0.0.1", port: 0 },
      tls: null,
      ...rest,
      spec: {
        tenant: "default",
        instance: "test",
        uid: "u1",
        generation: 1,
        os: "hello",
        image: null,
        options: {},
        ...spec,
      },
    };
    this.httpSocket = { socketPath: join(this.runDir, "http.sock") };
    this.writeBoot();
  }

  /** Says so in boot.json: a container of OS web with these files. */
  async useSite(tree: Tree, options: Record<string, unknown> = {}): Promise<this> {
    this.boot.spec.os = "web";
    this.boot.spec.image = await writeImage(this.boot.blobDir, tree);
    this.boot.spec.options = options;
    this.writeBoot();
    return this;
  }

  writeBoot(): void {
    writeFileSync(join(this.runDir, "boot.json"), JSON.stringify(this.boot), { mode: 0o600 });
  }

  spawn(): this {
    const child = spawn(process.execPath, [host, "--run-dir", this.runDir], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.process = child;
    this.#spawned.push({ child, closed: new Promise((resolve) => child.on("close", resolve)) });
    this.stderr = "";
    child.stderr.on("data", (bytes: Buffer) => {
      this.stderr += bytes.toString();
    });
    this.exited = new Promise((resolve) => child.on("close", (code) => resolve(code)));
    return this;
  }

  /** Links to it as soon as it listens; rejects when it, and every rival of it, ends before. */
  async link(): Promise<Link> {
    let ended = false;
    void Promise.all(this.#spawned.map(({ closed }) => closed)).then(() => {
      ended = true;
    });
    for (;;) {
      const link = new Link(join(this.runDir, "control.sock"));
      try {
        await link.until((message) => message.type === "hello");
        return link;
      } catch {
        if (ended) throw new Error(`the container ended: ${this.stderr}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  }

  /** Spawns it and waits until it is ready; gives the link and its TCP port. */
  async start(): Promise<{ link: Link; port: number }> {
    this.spawn();
    const link = await this.link();
    const state = await link.until((message) => message.type === "state" && message.state !== "starting");
    if (state.type !== "state" || state.state !== "ready") throw new Error(JSON.stringify(state));
    return { link, port: state.port };
  }

  ask(what: Ask = {}): Promise<Answer> {
    return ask(this.httpSocket, what);
  }

  file(name: string): string {
    return readFileSync(join(this.runDir, name), "utf8");
  }

  async dispose(): Promise<void> {
    for (const { child } of this.#spawned) child.kill("SIGKILL");
    await Promise.all(this.#spawned.map(({ closed }) => closed));
    rmSync(this.runDir, { recursive: true, force: true });
  }
}
