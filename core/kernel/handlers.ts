/** What happens with each message of another kernel. One handler a row of messages.ts. */
import { handleAudit, handleAudited } from "./handlers/audit.ts";
import { handleAnswer, handleFailed, handleReply, handleTaken } from "./handlers/answers.ts";
import { handleCancel } from "./handlers/cancel.ts";
import { handleInfo } from "./handlers/info.ts";
import { handleMiss } from "./handlers/miss.ts";
import { handleNotify } from "./handlers/notify.ts";
import { handleNotified } from "./notices.ts";
import { handleResolve, handleResolved } from "./handlers/resolve.ts";
import { handleRequest, handleSend } from "./handlers/send.ts";
import { handleSettled } from "./handlers/settled.ts";
import { handleWatch } from "./handlers/watch.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import type { KernelMessage, MessageName } from "./messages.ts";
import type { KernelId } from "./view.ts";

export type Handler<N extends MessageName> = (
  kernel: KernelMachine,
  from: KernelId,
  message: KernelMessage<N>,
) => void;

export const handlers: { [N in MessageName]: Handler<N> } = {
  send: handleSend,
  request: handleRequest,
  notify: handleNotify,
  notified: handleNotified,
  taken: handleTaken,
  reply: handleReply,
  failed: handleFailed,
  cancel: handleCancel,
  miss: handleMiss,
  resolve: handleResolve,
  resolved: handleResolved,
  watch: handleWatch,
  info: handleInfo,
  answer: handleAnswer,
  copyRead: (kernel, from, m) => kernel.copies.handleOpen(from, m),
  copyWrite: (kernel, from, m) => kernel.copies.handleOpen(from, m),
  data: (kernel, from, m) => kernel.copies.streams.handleData(from, m),
  dataAck: (kernel, from, m) => kernel.copies.streams.handleDataAck(from, m),
  copyCancel: (kernel, from, m) => kernel.copies.handleCancel(from, m),
  offer: (kernel, from, m) => kernel.moves.handleOffer(from, m),
  decline: (kernel, from, m) => kernel.moves.handleDecline(from, m),
  marker: (kernel, from, m) => kernel.moves.handleMarker(from, m),
  settled: handleSettled,
  audit: handleAudit,
  audited: handleAudited,
  beacon: (kernel, from, m) => kernel.membership.handleBeacon(from, m),
  beaconAck: (kernel, from, m) => kernel.membership.handleBeaconAck(from, m),
  flush: (kernel, from, m) => kernel.leaving.handleFlush(from, m),
  flushed: (kernel, from, m) => kernel.leaving.handleFlushed(from, m),
};
