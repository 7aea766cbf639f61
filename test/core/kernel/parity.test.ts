/** docs/kernel-calls.md: what it says that there is, there is. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { commands, isGroup } from "../../../cli/commands.ts";
import { Kernel } from "../../../core/kernel/kernel.ts";
import { KernelMachine } from "../../../core/kernel/kernel-machine.ts";
import { outcomes } from "../../../core/kernel/outcome.ts";
import { Process } from "../../../core/kernel/process.ts";

const text = readFileSync(new URL("../../../docs/kernel-calls.md", import.meta.url), "utf8");
const tables = text.split("## Errors");
const rows = tables[0]!
  .split("\n")
  .filter((line) => /^\| \d/.test(line))
  .map((line) => line.split("|").map((cell) => cell.trim()))
  .map(([, number, theirs, ours, far, why]) => ({
    number: Number(number),
    theirs,
    ours: ours!,
    far: far!,
    why: why!,
  }));

const commandNames = Object.entries(commands).flatMap(([name, entry]) =>
  isGroup(entry) ? Object.keys(entry.commands).map((verb) => `${name} ${verb}`) : [name],
);
const classes: Record<string, object> = {
  Process: Process.prototype,
  Kernel: Kernel.prototype,
  KernelMachine: KernelMachine.prototype,
};

test("each of the 35 numbers has a row", () => {
  expect(rows.map((row) => row.number)).toEqual(Array.from({ length: 35 }, (_, i) => i));
});

test.each(rows.map((row) => [row.theirs, row] as const))(
  "%s: what it is called here exists",
  (_theirs, row) => {
    const names = [...row.ours.matchAll(/`([^`]+)`/g)].map((match) => match[1]!);
    expect(row.ours.replaceAll(/`[^`]+`/g, "").trim()).toBe("");
    expect(["full", "partial", "not needed", "later"]).toContain(row.far);
    const isThere = row.far === "full" || row.far === "partial";
    expect(names.length > 0).toBe(isThere);
    if (row.far !== "full") expect(row.why).not.toBe("");
    for (const name of names) {
      if (name.startsWith("dvs ")) {
        expect(commandNames).toContain(name.slice(4));
        continue;
      }
      const [of, member] = name.split(".") as [string, string];
      expect(Object.getOwnPropertyNames(classes[of])).toContain(member);
    }
  },
);

test("each outcome that is named is one", () => {
  const named = [...tables[1]!.matchAll(/`([A-Z_]+)`/g)].map((match) => match[1]!);
  expect(named.length).toBeGreaterThan(5);
  for (const name of named) expect(Object.keys(outcomes)).toContain(name);
});
