/**
 * A byte stream of the simulated network, as a proxy's wire: what is written is cut into pieces at random places, so
 * that a connection which breaks does so at any byte. It holds so much at most; then the writer has to wait.
 */
import type { Wire, WireUser } from "../../../core/kernel/proxy/wire.ts";
import type { Host } from "../harness/host.ts";
import type { Simulation } from "../harness/simulation.ts";
import type { Stream } from "../harness/stream.ts";

/** Null: the connection stands. */
type Piece = { bytes: Uint8Array; from: SimWire } | null;

export class SimWire implements Wire {
  queued = 0;
  user: WireUser | null = null;
  onOpen: (() => void) | null = null;
  /** The most that was ever queued. */
  queuedMost = 0;
  readonly #sim: Simulation;
  readonly #host: Host;
  readonly #capacityBytes: number;
  #stream: Stream<Piece, Piece> | null = null;
  #waiting = false;
  #ended = false;
  #destroyed = false;

  constructor(sim: Simulation, host: Host, capacityBytes: number) {
    this.#sim = sim;
    this.#host = host;
    this.#capacityBytes = capacityBytes;
  }

  /** One end of a stream of the harness is this wire's from now on. */
  attach(stream: Stream<Piece, Piece>): void {
    this.#stream = stream;
    stream.onMessage = (piece) => this.#arrived(piece);
    stream.onClose = () => {
      // The far end has said so, or the network: some programs see a FIN first, others only the end.
      if (this.#sim.random.chance(0.5)) this.user?.onEnd();
      this.#ended = true;
      this.user?.onClose();
      this.user = null;
    };
  }

  accepted(): void {
    this.#stream?.send(null);
  }

  write(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#ended) return true;
    const { random } = this.#sim;
    for (let at = start; at < end;) {
      const rest = end - at;
      const length = rest > 1 && random.chance(0.3) ? random.integer(1, rest - 1) : rest;
      this.#stream?.send({ bytes: bytes.slice(at, at + length), from: this });
      at += length;
    }
    this.queued += end - start;
    this.queuedMost = Math.max(this.queuedMost, this.queued);
    if (this.queued <= this.#capacityBytes) return true;
    this.#waiting = true;
    return false;
  }

  close(): void {
    this.#ended = true;
    this.#stream?.close();
  }

  destroy(): void {
    this.#destroyed = true;
    this.close();
  }

  /** The network's doing: what is on its way is lost, and this end is told. */
  cut(): void {
    this.#destroyed = true;
    this.#stream?.broken();
  }

  #arrived(piece: Piece): void {
    if (piece === null) {
      this.onOpen?.();
      return;
    }
    const { bytes, from } = piece;
    // A reset overtakes what was under way.
    if (from.#destroyed || this.#ended) return;
    from.#taken(bytes.length);
    this.user?.onData(bytes);
  }

  #taken(length: number): void {
    this.queued -= length;
    if (!this.#waiting || this.queued > this.#capacityBytes / 2) return;
    this.#waiting = false;
    const { life } = this.#host;
    this.#sim.after(this.#sim.network.delayMs(), () =>
      this.#host.enter(life, () => {
        if (!this.#ended) this.user?.onDrain();
      }),
    );
  }
}
