/** Reads boot.json, all that a container is told before it starts. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DvsError, parseOrThrow } from "../errors.ts";
import { ContainerBoot } from "./control.ts";

/** Rejects with INVALID when the file is absent, torn or wrong. */
export async function readBoot(runDir: string): Promise<ContainerBoot> {
  const path = join(runDir, "boot.json");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new DvsError("INVALID", `Cannot boot a container in ${runDir}: boot.json cannot be read.`, {
      cause,
    });
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    // The text may hold a key: it never gets into a message.
    throw new DvsError("INVALID", `Cannot boot a container in ${runDir}: boot.json is no JSON.`, {
      cause: new Error((cause as Error).name),
    });
  }
  const boot = parseOrThrow(ContainerBoot, json, path);
  if (!boot.tls && !isLoopback(boot.listen.host)) {
    throw new DvsError(
      "INVALID",
      `Cannot listen on ${boot.listen.host} without TLS: plain HTTP is for loopback addresses only.`,
    );
  }
  return boot;
}

function isLoopback(host: string): boolean {
  return host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
