/**
 * A host process with guests that spin in wasm: `bun bench/spinning-guests.ts 30`. Stands in for a cpu container until
 * there are real guests: JSPI, fuel at the loop's head, a synchronous tick that reads the clock, one run queue, one guest
 * a turn of the event loop (DESIGN.md section 3).
 */
const guests = Number(process.argv[2] ?? 30);
const sliceMs = 2;

/** (loop: fuel--; if (fuel < 0) { fuel = 6000; if (tick()) yield() }; x = x * 13 + 7; again) */
const section = (id: number, content: number[]) => [id, content.length, ...content];
const body = [
  ...[0x01, 0x01, 0x7e, 0x03, 0x40],
  ...[0x23, 0x00, 0x41, 0x01, 0x6b, 0x24, 0x00, 0x23, 0x00, 0x41, 0x00, 0x48, 0x04, 0x40],
  ...[0x41, 0xf0, 0x2e, 0x24, 0x00, 0x10, 0x00, 0x04, 0x40, 0x10, 0x01, 0x0b, 0x0b],
  ...[0x20, 0x00, 0x42, 0x0d, 0x7e, 0x42, 0x07, 0x7c, 0x21, 0x00, 0x0c, 0x00, 0x0b, 0x0b],
];
const spinner = new WebAssembly.Module(
  new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, [0x02, 0x60, 0x00, 0x01, 0x7f, 0x60, 0x00, 0x00]),
    ...section(2, [0x02, 0x01, 0x65, 0x01, 0x74, 0x00, 0x00, 0x01, 0x65, 0x01, 0x79, 0x00, 0x01]),
    ...section(3, [0x01, 0x01]),
    ...section(6, [0x01, 0x7f, 0x01, 0x41, 0x00, 0x0b]),
    ...section(7, [0x01, 0x03, 0x72, 0x75, 0x6e, 0x00, 0x02]),
    ...section(10, [0x01, body.length, ...body]),
  ]),
);

// Not in the types of the language's library yet.
const jspi = WebAssembly as unknown as {
  Suspending: new (call: () => Promise<void>) => WebAssembly.ImportValue;
  promising(run: WebAssembly.ExportValue): () => Promise<void>;
};
const runnable: (() => void)[] = [];
let sliceEnds = 0;

function turn(): void {
  sliceEnds = performance.now() + sliceMs;
  runnable.shift()?.();
  setImmediate(turn);
}

for (let i = 0; i < guests; i++) {
  const imports = {
    e: {
      t: () => (performance.now() >= sliceEnds ? 1 : 0),
      y: new jspi.Suspending(() => new Promise<void>((resume) => runnable.push(resume))),
    },
  };
  const { exports } = new WebAssembly.Instance(spinner, imports);
  void jspi.promising(exports["run"]!)();
}
turn();
export {};
