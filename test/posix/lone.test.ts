/** The volume's module, by three clients of one database, answers as Linux does. */
import { expect, test } from "bun:test";
import { openLone } from "../../core/files/lone.ts";
import { rootIno } from "../../core/files/file-system.ts";
import { groups } from "./cases/all.ts";
import { readRecorded, runCase } from "./recorded.ts";
import { VolumeExecutor } from "./volume.ts";

for (const [group, cases] of Object.entries(groups)) {
  const recorded = readRecorded(group);
  for (const each of cases) {
    test(`${group}: ${each.name}`, async () => {
      const volume = openLone();
      const places = ["a", "b", "c"].map((name) => volume.client(name));
      try {
        const root = await places[0]!.makeDirectory(rootIno, "case", 0o777);
        const executor = new VolumeExecutor(places, root.ino);
        expect(await runCase(each, executor)).toEqual(recorded[each.name]!);
        await executor.close();
      } finally {
        for (const place of places) await place.close();
        await volume.close();
      }
    });
  }
}
