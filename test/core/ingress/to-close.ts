/** What tests of a file have opened. Apart from the harness, which programs without bun:test use, too. */
import { afterEach } from "bun:test";

/** Whatever is pushed to it is closed after the test, the last first. Once in each file. */
export function closedAfterEach(): { push(...opened: { close(): unknown }[]): void } {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const it of open.splice(0).reverse()) await it.close();
  });
  return open;
}
