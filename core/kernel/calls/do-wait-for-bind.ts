/** waitForBind and waitForUnbind of an endpoint, waitForBind of a name; lookup is the latter without waiting. */
import { Call, callKinds } from "../call.ts";
import { type Endpoint, NONE } from "../endpoint.ts";
import { finish } from "../finish.ts";
import type { KernelMachine } from "../kernel-machine.ts";
import { callBits } from "../privileges.ts";
import type { Proc } from "../proc.ts";

export function doWaitForBind(
  kernel: KernelMachine,
  caller: Proc,
  endpoint: Endpoint,
  bound: boolean,
  timeoutMs: number | undefined,
): Call {
  const type = bound ? 1 : 0;
  const call = new Call(callKinds.watch, caller, caller.endpoint, endpoint, type, null, caller.group);
  caller.underWay++;
  if ((caller.calls & callBits.lookup) === 0) finish(kernel, call, "NOT_ALLOWED");
  else kernel.beginAsk(call, timeoutMs);
  return call;
}

/** The result's body is the endpoint. */
export function doWaitForName(
  kernel: KernelMachine,
  caller: Proc,
  name: string,
  timeoutMs: number | undefined,
): Call {
  const call = new Call(callKinds.lookup, caller, caller.endpoint, NONE, 0, name, caller.group);
  caller.underWay++;
  if ((caller.calls & callBits.lookup) === 0) finish(kernel, call, "NOT_ALLOWED");
  else kernel.beginAsk(call, timeoutMs);
  return call;
}
