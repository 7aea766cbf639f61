/** A buffer that is written from its start again and again, and grows when it has to. */
export class ByteWriter {
  buffer: Buffer;
  length = 0;

  constructor(capacity: number) {
    this.buffer = Buffer.allocUnsafeSlow(capacity);
  }

  reserve(bytes: number): void {
    const needed = this.length + bytes;
    if (needed <= this.buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }

  append(from: Buffer, start: number, end: number): void {
    this.reserve(end - start);
    from.copy(this.buffer, this.length, start, end);
    this.length += end - start;
  }

  add(constant: Buffer): void {
    this.append(constant, 0, constant.length);
  }

  /** Gives back what one large message made it grow to. */
  reset(capacity: number): void {
    this.length = 0;
    if (this.buffer.length > capacity) this.buffer = Buffer.allocUnsafeSlow(capacity);
  }
}
