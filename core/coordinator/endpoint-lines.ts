/** All endpoints that a container's kernel knows of, page by page: nobody on the way holds more than one page. */
import type { KernelQuery } from "../agent-protocol.ts";
import { endpointsPerPage } from "../limits.ts";
import { linesOf } from "./log-lines.ts";

type Ask = (query: KernelQuery) => Promise<ReadableStream<Uint8Array>>;

/** Lines of JSON (core/kernel/endpoint-list.ts). */
export async function* endpointLines(ask: Ask, signal: AbortSignal): AsyncGenerator<string> {
  for (let after = 0; !signal.aborted;) {
    const query = { what: "endpoints" as const, endpoint: after, max: endpointsPerPage };
    let last = after;
    let count = 0;
    for await (const line of linesOf(ask(query), signal)) {
      count++;
      last = Math.max(last, idOf(line));
      yield line;
    }
    // A page that brings nothing new is not asked for again, whatever its sender thinks of it.
    if (count < endpointsPerPage || last === after) return;
    after = last;
  }
}

/** 0 for a line of an older container that is no endpoint. */
function idOf(line: string): number {
  try {
    const { id } = JSON.parse(line) as { id?: unknown };
    return Number.isSafeInteger(id) ? (id as number) : 0;
  } catch {
    return 0;
  }
}
