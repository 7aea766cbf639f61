import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { messageTable, type MessageRow } from "../../../../core/kernel/messages.ts";
import { linkMessageTable } from "../../../../core/kernel/proxy/link-messages.ts";
import { protocolText } from "../../../tools/protocol.ts";

const written = readFileSync(new URL("../../../../PROTOCOL.md", import.meta.url), "utf8");

test("PROTOCOL.md says what the tables say; `bun test/tools/write-protocol.ts` writes it", () => {
  expect(written).toBe(protocolText());
});

test("PROTOCOL.md names every message and every field", () => {
  for (const [name, row] of Object.entries({ ...messageTable, ...linkMessageTable })) {
    const { number, fields } = row as Pick<MessageRow, "number" | "fields">;
    const line = written.split("\n").find((each) => {
      const [, first, second] = each.split("|").map((cell) => cell.trim());
      return first === String(number) && second === `\`${name}\``;
    });
    expect(line).toBeDefined();
    for (const [field] of fields) expect(line).toContain(field);
  }
});

test("messages of links and of kernels have different numbers, links those up to 15", () => {
  const links = Object.values(linkMessageTable).map((row) => row.number);
  const kernels = Object.values(messageTable).map((row) => row.number);
  expect(new Set([...links, ...kernels]).size).toBe(links.length + kernels.length);
  expect(Math.max(...links)).toBeLessThanOrEqual(15);
  expect(Math.min(...kernels)).toBeGreaterThanOrEqual(16);
});
