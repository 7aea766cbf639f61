import { expect, test } from "bun:test";
import { Kernel } from "../../../core/kernel/kernel.ts";
import { MemoryRecordLog } from "../../../core/kernel/memory-record-log.ts";
import { slotsPerLease } from "../../../core/limits.ts";

test("processes that are bound at once get slots, however many leases they need", async () => {
  const member = { incarnation: "i1", node: "n1", cpu: 0, unix: "", host: "", port: 0 };
  const kernel = new Kernel({
    member: { ...member, protocol: 1, protocolMin: 1 },
    log: new MemoryRecordLog(),
    uptimeMs: () => performance.now(),
  });
  const running = kernel.run();
  const count = 3 * slotsPerLease + 1;
  const processes = await Promise.all(Array.from({ length: count }, () => kernel.bind()));
  expect(new Set(processes.map((process) => process.endpoint)).size).toBe(count);
  kernel.stop();
  await running;
});
