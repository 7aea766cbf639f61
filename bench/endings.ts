/**
 * What a benchmark has started and has to take away again, also when a signal ends it: servers in namespaces of their own,
 * mounts, replicas. Nothing of it ends by itself with the process that began it.
 */
const open: (() => Promise<void>)[] = [];
const codes = { SIGINT: 130, SIGTERM: 143 } as const;
let isEnding = false;

/**
 * Registers how something is taken away, before it is begun. What it returns does it, once, however often it is called
 * and by whom. Throws where the benchmark is ending: nothing is begun any more.
 */
export function atEnd(close: () => Promise<void> | void): () => Promise<void> {
  checkBeginning();
  listen();
  let closing: Promise<void> | null = null;
  const once = () => (closing ??= Promise.resolve(close()).finally(() => open.splice(open.indexOf(once), 1)));
  open.push(once);
  return once;
}

/** For what is there before it can be registered. Throws where the benchmark is ending. */
export function checkBeginning(): void {
  if (isEnding) throw new Error("the benchmark is ending");
}

/** Of what takes a while to open: a signal meanwhile waits for it, and takes it away. */
export function opened<T extends { close(): Promise<void> | void }>(
  opening: () => Promise<T>,
): Promise<{ it: T; close: () => Promise<void> }> {
  const found = Promise.withResolvers<T | null>();
  const close = atEnd(async () => await (await found.promise)?.close());
  return opening().then(
    (it) => {
      found.resolve(it);
      return { it, close };
    },
    async (e: unknown) => {
      found.resolve(null);
      await close();
      throw e;
    },
  );
}

/** Never resolves where a signal is ending the benchmark: whoever saw something fail for that is not to go on. */
export function unlessEnding(): Promise<void> {
  return isEnding ? new Promise(() => undefined) : Promise.resolve();
}

let listens = false;
function listen(): void {
  if (listens) return;
  listens = true;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (isEnding) return;
      isEnding = true;
      void endAll().then(() => process.exit(codes[signal]));
    });
  }
}

/** Takes away what is left, also of what failed half-way. What was begun last ends first. */
export async function endAll(): Promise<void> {
  for (let close = open.at(-1); close; close = open.at(-1)) {
    await close().catch((e: unknown) => console.error(String(e)));
  }
}
