import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqliteStore } from "../../../core/store/sqlite/sqlite.ts";
import { ManualClock } from "./manual-clock.ts";
import { put, remove, storeSuite, type Subject } from "./store-suite.ts";

async function open(used: boolean): Promise<Subject> {
  const dir = mkdtempSync(join(tmpdir(), "dvs-"));
  const clock = new ManualClock();
  let store = openSqliteStore(join(dir, "store.db"), { clock });
  const reopen = async () => {
    await store.close();
    store = openSqliteStore(join(dir, "store.db"), { clock });
    subject.store = store;
    return store;
  };
  const subject: Subject = {
    store,
    reopen,
    advance: (ms) => clock.advance(ms),
    close: async () => rmSync(dir, { recursive: true }),
  };
  if (used) {
    await put(store, "/before", "x");
    await store.revoke(await store.grant(5));
    await remove(store, "/before");
    await reopen();
  }
  return subject;
}

storeSuite("sqlite", () => open(false));
storeSuite("sqlite, after it was used and opened again", () => open(true));
