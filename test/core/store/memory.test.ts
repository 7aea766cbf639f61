import { openMemoryStore } from "../../../core/store/memory/memory.ts";
import { ManualClock } from "./manual-clock.ts";
import { storeSuite } from "./store-suite.ts";

storeSuite("memory", async () => {
  const clock = new ManualClock();
  return { store: openMemoryStore({ clock }), advance: (ms) => clock.advance(ms) };
});
