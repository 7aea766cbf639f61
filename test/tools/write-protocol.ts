/** Writes PROTOCOL.md: `bun test/tools/write-protocol.ts`. */
import { writeFileSync } from "node:fs";
import { protocolText } from "./protocol.ts";

writeFileSync(new URL("../../PROTOCOL.md", import.meta.url), protocolText());
