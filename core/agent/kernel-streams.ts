/** What a container's kernel tells of itself, line by line over its control socket, as streams to the coordinator. */
import type { ToAgent } from "../agent-protocol.ts";
import type { ToContainer } from "../container/control.ts";
import { MiB } from "../limits.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";

export interface KernelStreamsOptions {
  coordinator: Pick<CoordinatorLink, "sendStream">;
  /** False when there is no such container to ask. */
  tell(uid: string, message: ToContainer): boolean;
  signal: AbortSignal;
}

/** Nobody reads fast enough: the stream ends. */
const unreadBytesMax = 1 * MiB;
const encoder = new TextEncoder();

export class KernelStreams {
  readonly #options: KernelStreamsOptions;
  readonly #controllers = new Map<string, ReadableStreamDefaultController<Uint8Array>>();

  constructor(options: KernelStreamsOptions) {
    this.#options = options;
  }

  async send({ type, uid, ...query }: Extract<ToAgent, { type: "kernelStream" }>): Promise<void> {
    const { coordinator, signal } = this.#options;
    const { id } = query;
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controllers.set(id, controller);
          if (!this.#options.tell(uid, { type, ...query })) this.#end(id);
        },
        cancel: () => void this.#controllers.delete(id),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: unreadBytesMax }),
    );
    try {
      await coordinator.sendStream(id, body, signal);
    } catch {
      // Whoever asked for it has gone, or the coordinator has.
    } finally {
      this.#controllers.delete(id);
      this.#options.tell(uid, { type: "kernelStreamStop", id });
    }
  }

  line(id: string, line: string | null): void {
    const controller = this.#controllers.get(id);
    if (!controller) return;
    if (line !== null) controller.enqueue(encoder.encode(`${line}\n`));
    if (line === null || (controller.desiredSize ?? 0) <= 0) this.#end(id);
  }

  #end(id: string): void {
    this.#controllers.get(id)?.close();
    this.#controllers.delete(id);
  }
}
