/**
 * Asks one upstream over and over whether it answers HTTP: one small request on a connection of its own, which is
 * kept. A machine that is stopped still accepts connections, so nothing less than an answer counts.
 */
import { type Stream, type StreamFailure, type StreamUser, type Target, connect } from "../platform/tcp.ts";
import { headBytesMax } from "../limits.ts";
import { ascii } from "./http/bytes.ts";
import { ResponseHead, parseResponseHead } from "./http/response-head.ts";
import { healthPath } from "./ingress-limits.ts";

const request = ascii(`GET ${healthPath} HTTP/1.1\r\nHost: dvs\r\nUser-Agent: dvs-ingress\r\n\r\n`);
const head = new ResponseHead();
/** Of an answer to a probe; more than that is not read. */
const bodyBytesMax = 4 * headBytesMax;

/** `null`: it answered. Else what is wrong with it, in words. */
export type ProbeResult = string | null;

export class Prober {
  readonly #target: () => Target;
  readonly #onResult: (result: ProbeResult) => void;
  #connection: ProbeConnection | null = null;

  constructor(target: () => Target, onResult: (result: ProbeResult) => void) {
    this.#target = target;
    this.#onResult = onResult;
  }

  /** Sends a probe; its result comes later. One at a time: cancel() before the next. */
  probe(): void {
    this.#connection ??= new ProbeConnection(this.#target(), (result, reusable) => {
      if (!reusable) this.close();
      if (result !== undefined) this.#onResult(result);
    });
    this.#connection.send();
  }

  /** Whatever the probe under way would say comes too late. */
  cancel(): void {
    this.close();
  }

  close(): void {
    this.#connection?.destroy();
    this.#connection = null;
  }
}

class ProbeConnection implements StreamUser {
  readonly #stream: Stream;
  /** `undefined` for the result when none was awaited. */
  readonly #onAnswer: (result: ProbeResult | undefined, reusable: boolean) => void;
  #open = false;
  #awaits = false;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(target: Target, onAnswer: (result: ProbeResult | undefined, reusable: boolean) => void) {
    this.#onAnswer = onAnswer;
    this.#stream = connect(target, this);
  }

  send(): void {
    this.#awaits = true;
    if (this.#open) this.#stream.write(request, 0, request.length);
  }

  destroy(): void {
    this.#awaits = false;
    this.#stream.user = gone;
    this.#stream.destroy();
  }

  onOpen(): void {
    this.#open = true;
    if (this.#awaits) this.#stream.write(request, 0, request.length);
  }

  onData(chunk: Buffer): void {
    const bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    const bodyStart = parseResponseHead(bytes, 0, bytes.length, head, headBytesMax);
    if (bodyStart < 0) return this.#answer(`it sent a malformed response: ${head.reason}`, false);
    if (bodyStart === 0) {
      this.#bytes = bytes;
      return;
    }
    // Anything below 500 is an answer of a server that works: not every one knows the path.
    const result =
      head.status >= 200 && head.status < 500 ? null : `it answered a probe with status ${head.status}`;
    const { length, chunked } = head.framing;
    if (chunked || length < 0 || length > bodyBytesMax || !head.keepAlive) return this.#answer(result, false);
    if (bytes.length < bodyStart + length) {
      this.#bytes = bytes;
      return;
    }
    this.#bytes = Buffer.alloc(0);
    this.#answer(result, bytes.length === bodyStart + length);
  }

  onDrain(): void {}

  onEnd(): void {
    this.#answer("it closed the connection of a probe", false);
  }

  onClose(failure: StreamFailure | null): void {
    this.#answer(failure ? failure.code || failure.message : "it closed the connection of a probe", false);
  }

  #answer(result: ProbeResult, reusable: boolean): void {
    const awaited = this.#awaits;
    this.#awaits = false;
    this.#onAnswer(awaited ? result : undefined, reusable);
  }
}

const gone: StreamUser = { onOpen() {}, onData() {}, onDrain() {}, onEnd() {}, onClose() {} };
