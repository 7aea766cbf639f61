/**
 * Keeps a link to one host process as long as that lives: connects when its socket appears, checks that the first
 * line is its hello, connects again after a break, and tries from time to time whether the process still answers.
 * A stopped process accepts connections (its kernel does), so only a hello counts as an answer.
 */
import type { ActiveClock, Cancel } from "./active-clock.ts";
import { type ControlLink, openControlLink } from "./control-link.ts";

export interface ProcessLinkOptions<From> {
  socket: string;
  schema: { safeParse(value: unknown): { success: true; data: From } | { success: false } };
  clock: ActiveClock;
  livenessMs: number;
  /** Null for the hello of the process that is meant; otherwise what is wrong with this line. */
  checkHello(message: From): string | null;
  onHello(hello: From): void;
  onMessage(message: From): void;
  /** After a hello only. Each link ends before the next one's hello. */
  onDown(): void;
  /** It does not answer, or somebody else does. */
  onHung(reason: string): void;
}

const connectRetryMs = 10;
const connectRetryMsMax = 200;

export class ProcessLink<From, To> {
  readonly #options: ProcessLinkOptions<From>;
  #link: ControlLink<To> | null = null;
  #greeted = false;
  #retryMs = connectRetryMs;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #liveness: Cancel | undefined;
  #probe: ControlLink<never> | null = null;
  #closed = false;

  constructor(options: ProcessLinkOptions<From>) {
    this.#options = options;
    this.#connect();
  }

  get isUp(): boolean {
    return this.#greeted;
  }

  /** Dropped while there is no link. */
  send(message: To): void {
    if (this.#greeted) this.#link?.send(message);
  }

  /** Nothing is called back afterwards. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#liveness?.cancel();
    this.#link?.close();
    this.#probe?.close();
  }

  #connect(): void {
    const { socket, schema } = this.#options;
    // A process that never says hello keeps the link open for ever: the liveness check closes it.
    this.#armLiveness();
    this.#link = openControlLink<From, To>({
      socket,
      schema,
      onMessage: (message) => this.#receive(message),
      onClose: () => this.#down(),
    });
  }

  #receive(message: From): void {
    if (this.#closed) return;
    if (this.#greeted) return this.#options.onMessage(message);
    const wrong = this.#options.checkHello(message);
    if (wrong !== null) return this.#options.onHung(wrong);
    this.#greeted = true;
    this.#retryMs = connectRetryMs;
    this.#options.onHello(message);
  }

  #down(): void {
    this.#link = null;
    if (this.#closed) return;
    const wasGreeted = this.#greeted;
    this.#greeted = false;
    this.#retry = setTimeout(() => this.#connect(), this.#retryMs);
    this.#retryMs = Math.min(connectRetryMsMax, this.#retryMs * 1.2);
    if (wasGreeted) this.#options.onDown();
  }

  #armLiveness(): void {
    this.#liveness?.cancel();
    const { clock, livenessMs } = this.#options;
    this.#liveness = clock.after(livenessMs, () => this.#checkLiveness());
  }

  #checkLiveness(): void {
    const { clock, livenessMs, socket, schema } = this.#options;
    if (!this.#greeted) return this.#options.onHung(`no hello within ${livenessMs / 1000} s`);
    this.#liveness = clock.after(livenessMs, () => {
      this.#options.onHung(`no answer on its control socket for ${livenessMs / 1000} s`);
    });
    this.#probe = openControlLink<From, never>({
      socket,
      schema,
      onMessage: () => {
        this.#probe?.close();
        this.#probe = null;
        if (!this.#closed) this.#armLiveness();
      },
      onClose: () => {},
    });
  }
}
