import type { LogFile, LogFiles } from "../../../core/log/log-files.ts";

/** Writes wait until they are let through. */
export function gate(): { wrap: (files: LogFiles) => LogFiles; open: () => void } {
  let held: (() => void)[] | null = [];
  const file = (inner: LogFile): LogFile => ({
    size: (done) => inner.size(done),
    write(blocks, position, done) {
      const act = (): void => inner.write(blocks, position, done);
      if (held) held.push(act);
      else act();
    },
    datasync: (done) => inner.datasync(done),
    truncate: (length, done) => inner.truncate(length, done),
    read: (position, length, done) => inner.read(position, length, done),
    close: (done) => inner.close(done),
  });
  return {
    wrap: (files) => ({
      ...files,
      open: (name, how, done) => files.open(name, how, (e, inner) => done(e, inner && file(inner))),
    }),
    open() {
      const waiting = held ?? [];
      held = null;
      for (const act of waiting) act();
    },
  };
}
