/** Responses that ingress gives itself: why a request was refused or could not be answered. */
import { STATUS_CODES } from "node:http";

/** The reason goes into the body for people and into `Dvs-Reason` for programs. */
export function ownResponse(
  status: number,
  reason: string,
  options: { head: boolean; close: boolean },
): Buffer {
  const text = reason.replace(/[^\x20-\x7e]/g, "?");
  const body = `${status} ${STATUS_CODES[status] ?? ""}: ${text}\n`;
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    `Date: ${new Date().toUTCString()}`,
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${body.length}`,
    "Cache-Control: no-store",
    `Dvs-Reason: ${text}`,
    ...(status === 503 ? ["Retry-After: 1"] : []),
    ...(options.close ? ["Connection: close"] : []),
  ];
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n${options.head ? "" : body}`, "latin1");
}
