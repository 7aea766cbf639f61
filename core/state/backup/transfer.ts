/**
 * Backups and restores between an agent and a state process: a Unix socket (`transfer.sock`, in a directory of mode
 * 0700) with one request a connection.
 *
 *   {"type":"backup"}\n      the process answers with a backup (format.ts) and closes
 *   {"type":"restore"}\n…    a backup follows, then the end of the stream; the process answers with one line,
 *                            {"index":n} or {"error":…}, once every replica in sync has it
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import { z } from "zod";
import { DvsError, parseOrThrow } from "../../errors.ts";
import { KiB } from "../../limits.ts";
import { RestoreAnswer } from "./answer.ts";
import { backupError, type BackupHeader, encodeBackup, readBackup } from "./format.ts";

const Request = z.object({ type: z.enum(["backup", "restore"]) });
const lineBytesMax = 4 * KiB;

export interface TransferHandlers {
  /** A consistent state, as of one index. Rejects with a DvsError where there is none to be had. */
  backup(): Promise<{
    header: BackupHeader;
    chunks: AsyncIterable<Uint8Array>;
    /** Called once, when nothing of it is read any more. */
    release?: () => void;
  }>;
  /**
   * Takes the state of the instance's place. Acts only after `chunks` has ended without an error. Resolves with the
   * index of the record after which every replica in sync has it.
   */
  restore(header: BackupHeader, chunks: AsyncIterable<Uint8Array>): Promise<RestoreAnswer>;
}

/** The state process's side. Resolves when it listens; `close` cuts what is under way. */
export async function serveTransfers(path: string, handlers: TransferHandlers): Promise<{ close(): void }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    void answer(socket, handlers);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  return {
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** The agent's side: bytes of a backup, as they come. Rejects with UNAVAILABLE where no process listens. */
export async function openBackup(path: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
  const socket = await dial(path, signal);
  socket.end(`${JSON.stringify({ type: "backup" })}\n`);
  return streamOf(socket);
}

/** Rejects with what the state process says, or OUTCOME_UNKNOWN when it says nothing. */
export async function sendRestore(
  path: string,
  backup: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<RestoreAnswer> {
  const socket = await dial(path, signal);
  const said = lineOf(socket);
  try {
    socket.write(`${JSON.stringify({ type: "restore" })}\n`);
    for await (const bytes of backup) if (!(await write(socket, bytes))) break;
    socket.end();
    const line = await said;
    if (line === null) {
      const message =
        "The state process ended before it said whether the backup was restored. Look before you try again.";
      throw new DvsError("OUTCOME_UNKNOWN", message);
    }
    const json = JSON.parse(line) as unknown;
    if (json !== null && typeof json === "object" && "error" in json) throw DvsError.fromBody(json);
    return parseOrThrow(RestoreAnswer, json, "answer of the state process");
  } finally {
    socket.destroy();
  }
}

async function answer(socket: Socket, handlers: TransferHandlers): Promise<void> {
  try {
    const { request, rest } = await requestOf(bytesOf(socket));
    if (request.type === "restore") {
      const { header, chunks } = await readBackup(rest);
      socket.end(`${JSON.stringify(await handlers.restore(header, chunks))}\n`);
      return;
    }
    const { header, chunks, release } = await handlers.backup();
    try {
      for await (const part of encodeBackup(header, chunks)) if (!(await write(socket, part))) return;
      socket.end();
    } finally {
      release?.();
    }
  } catch (e) {
    // In the middle of a backup it is cut short, which its end tells.
    if (socket.bytesWritten > 0) return void socket.destroy();
    socket.end(backupError(DvsError.from(e)));
    // Whoever still sends a backup hears of it when that is done.
    socket.removeAllListeners("data");
    socket.resume();
  }
}

async function requestOf(iterator: AsyncGenerator<Uint8Array>) {
  let held = new Uint8Array(0);
  for (;;) {
    const end = held.indexOf(10);
    if (end >= 0) {
      const line = new TextDecoder().decode(held.subarray(0, end));
      const request = parseOrThrow(Request, JSON.parse(line) as unknown, "request");
      const after = held.slice(end + 1);
      async function* rest(): AsyncGenerator<Uint8Array> {
        if (after.length > 0) yield after;
        yield* iterator;
      }
      return { request, rest: rest() };
    }
    const { done, value } = await iterator.next();
    if (done || held.length > lineBytesMax) throw new DvsError("INVALID", "A transfer without a request.");
    held = Buffer.concat([held, value]);
  }
}

/** False when the other end has gone. Waits while it does not read. */
async function write(socket: Socket, bytes: Uint8Array): Promise<boolean> {
  if (socket.destroyed) return false;
  if (socket.write(bytes)) return true;
  return new Promise((resolve) => {
    const settle = () => {
      socket.off("drain", settle);
      socket.off("close", settle);
      resolve(!socket.destroyed);
    };
    socket.on("drain", settle);
    socket.on("close", settle);
  });
}

function dial(path: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true });
    const abort = () => socket.destroy(signal.reason as Error);
    signal.addEventListener("abort", abort, { once: true });
    socket.on("close", () => signal.removeEventListener("abort", abort));
    socket.once("connect", () => {
      socket.on("error", () => socket.destroy());
      resolve(socket);
    });
    socket.once("error", (cause) => {
      reject(
        new DvsError("UNAVAILABLE", "No state process of the instance listens on this node.", { cause }),
      );
    });
    if (signal.aborted) abort();
  });
}

/** Reads no faster than its reader. */
function streamOf(socket: Socket): ReadableStream<Uint8Array> {
  const iterator = bytesOf(socket);
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: () => void socket.destroy(),
  });
}

async function lineOf(socket: Socket): Promise<string | null> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of bytesOf(socket)) text += decoder.decode(bytes, { stream: true });
  return text.includes("\n") ? text.slice(0, text.indexOf("\n")) : null;
}

/** What comes until the other end has ended, or is gone; no faster than it is taken. The socket stays open for answers. */
async function* bytesOf(socket: Socket): AsyncGenerator<Uint8Array> {
  const arrived: Uint8Array[] = [];
  let ended = socket.destroyed;
  let wake: () => void = () => undefined;
  socket.on("data", (bytes: Uint8Array) => {
    arrived.push(new Uint8Array(bytes));
    socket.pause();
    wake();
  });
  for (const event of ["end", "close"] as const) {
    socket.on(event, () => {
      ended = true;
      wake();
    });
  }
  for (;;) {
    while (arrived.length > 0) yield arrived.shift()!;
    if (ended) return;
    const changed = new Promise<void>((resolve) => {
      wake = resolve;
    });
    socket.resume();
    await changed;
  }
}
