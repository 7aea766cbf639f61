/** What instances there are, `synced`, then each change. A slow reader skips states in between, never the last. */
import type { InstanceWatchEvent } from "../api/views.ts";
import type { Coordinator } from "./context.ts";
import { Mailbox } from "./mailbox.ts";
import { keepAliveMs, type LineSource } from "./ndjson.ts";

/** Each waiting entry is an instance of its own: those that are, and those that went while nobody read. */
const waitingMax = 10_000;

export function watchInstances(
  { controller, driver }: Pick<Coordinator, "controller" | "driver">,
  tenant: string,
  name: string | undefined,
): LineSource {
  const mailbox = new Mailbox<InstanceWatchEvent>({ key: keyOf, max: waitingMax });
  const unsubscribe = driver.instances.subscribe((event) => {
    if (event.type === "synced") return;
    const of = event.type === "instance" ? event.instance : event;
    if (of.tenant === tenant && (name === undefined || of.name === name)) mailbox.put(event);
  });
  // Looked at in the same turn as the subscription: nothing is missed and nothing comes twice.
  const initial = controller.instanceViews(tenant).filter((i) => name === undefined || i.name === name);
  async function* lines(): AsyncGenerator<InstanceWatchEvent | undefined> {
    for (const instance of initial.splice(0)) yield { type: "instance", instance };
    yield { type: "synced" };
    for (;;) {
      const event = await mailbox.take(keepAliveMs);
      if (event === null) return;
      yield event;
    }
  }
  const stop = () => {
    unsubscribe();
    mailbox.close();
  };
  return { lines: lines(), stop };
}

/** Of one life of a name: its end replaces its states, and the next life's come after it. */
function keyOf(event: InstanceWatchEvent): string {
  if (event.type === "synced") return "";
  const { name, uid } = event.type === "instance" ? event.instance : event;
  return `${name}/${uid}`;
}
