/** The logs of an instance's containers, merged as they come. A node that does not answer is a line that says so. */
import type { LogLine } from "../../api/schema.ts";
import type { InstanceView } from "../../api/views.ts";
import { DvsError } from "../../errors.ts";
import { readLines } from "../../transport/ndjson.ts";
import type { Coordinator } from "../context.ts";
import { keepAliveMs } from "../ndjson.ts";
import { Mailbox } from "../topic.ts";

export async function* logLines(
  coordinator: Coordinator,
  instance: InstanceView,
  options: { tailLines: number; follow: boolean; node: string | undefined },
): AsyncGenerator<LogLine | undefined> {
  const containers = instance.containers.filter(
    (c) => options.node === undefined || c.nodeName === options.node || c.node === options.node,
  );
  if (options.node !== undefined && containers.length === 0) {
    throw new DvsError(
      "NOT_FOUND",
      `Instance "${instance.name}" has no container on node ${JSON.stringify(options.node)}.`,
    );
  }
  const mailbox = new Mailbox<LogLine>();
  const streams: ReadableStream<Uint8Array>[] = [];
  let open = containers.length;
  const { uid } = instance;
  for (const { node, nodeName } of containers) {
    const copy = async () => {
      try {
        const stream = await coordinator.sessions.logs(node, {
          uid,
          tailLines: options.tailLines,
          follow: options.follow,
        });
        streams.push(stream);
        for await (const line of readLines(stream)) if (line !== "") mailbox.put({ node: nodeName, line });
      } catch (e) {
        mailbox.put({ node: nodeName, line: `(${e instanceof Error ? e.message : String(e)})` });
      } finally {
        open -= 1;
      }
    };
    void copy();
  }
  try {
    for (;;) {
      const line = await mailbox.take(open === 0 ? 0 : keepAliveMs / 10);
      if (line) yield line;
      else if (line === undefined && open === 0) return;
      else yield undefined;
    }
  } finally {
    for (const s of streams) void s.cancel().catch(() => undefined);
  }
}
