/** getInfo: what the kernel that holds a process knows of it. */
import { Call, callKinds } from "../call.ts";
import { type Endpoint, SELF } from "../endpoint.ts";
import { finish } from "../finish.ts";
import type { KernelMachine } from "../kernel-machine.ts";
import type { Level } from "../privileges.ts";
import { callBits } from "../privileges.ts";
import type { Proc, ProcCounters } from "../proc.ts";

export interface EndpointInfo {
  endpoint: Endpoint;
  kernel: number;
  name: string | null;
  level: Level;
  group: number;
  /** Messages that it has not taken; requests that it has taken and not answered. */
  waiting: number;
  open: number;
  /** Its own calls under way, and receives that wait. */
  calls: number;
  receives: number;
  moving: boolean;
  counters: ProcCounters;
}

export function doGetInfo(
  kernel: KernelMachine,
  caller: Proc,
  destination: Endpoint,
  timeoutMs: number | undefined,
): Call {
  const endpoint = destination === SELF ? caller.endpoint : destination;
  const call = new Call(callKinds.info, caller, caller.endpoint, endpoint, 0, null, caller.group);
  caller.underWay++;
  if ((caller.calls & callBits.info) === 0) finish(kernel, call, "NOT_ALLOWED");
  else kernel.beginAsk(call, timeoutMs);
  return call;
}

export function infoOf(kernel: KernelMachine, proc: Proc): EndpointInfo {
  return {
    endpoint: proc.endpoint,
    kernel: kernel.id,
    name: proc.name,
    level: proc.privileges.level,
    group: proc.group,
    waiting: proc.mailbox.length,
    open: proc.open.length,
    calls: proc.underWay,
    receives: proc.receivers.length,
    moving: proc.held,
    counters: { ...proc.counters },
  };
}
