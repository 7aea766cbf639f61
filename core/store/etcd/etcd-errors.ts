/** What etcd's answers mean. Its messages are the only thing that tells several of them apart (rpctypes/error.go). */
import { StoreError } from "../store.ts";
import { RequestFailure } from "./gateway.ts";

interface Row {
  message: RegExp;
  /** What the caller gets; "unsent" is tried elsewhere. Whatever is not in the table may have been carried out. */
  means: StoreError["code"] | "unsent";
  advice?: string;
}

const rows: Row[] = [
  {
    message: /required revision has been compacted/,
    means: "COMPACTED",
    advice: "List again and go on from there.",
  },
  { message: /requested lease not found/, means: "LEASE_NOT_FOUND" },
  {
    message: /database space exceeded/,
    means: "NO_SPACE",
    advice:
      "Compact and defragment it (etcdctl defrag), then clear the alarm (etcdctl alarm disarm); or raise --quota-backend-bytes.",
  },
  { message: /future revision|duplicate key|too many operations|request is too large/, means: "INVALID" },
  // The interceptor of `hasleader` refuses before anything is proposed.
  { message: /no leader|too many requests|not capable/, means: "unsent" },
];

/** The error of an answer that is not a success. */
export function errorOf(
  endpoint: string,
  status: number,
  answer: object | null,
): StoreError | RequestFailure {
  const message = answer && "error" in answer ? answer.error : null;
  if (typeof message !== "string") return new RequestFailure("lost", `${endpoint}: HTTP status ${status}`);
  const row = rows.find((r) => r.message.test(message));
  if (!row) return new RequestFailure("lost", `${endpoint}: ${message}`);
  if (row.means === "unsent") return new RequestFailure("unsent", `${endpoint}: ${message}`);
  return new StoreError(row.means, `etcd refused: ${message}.${row.advice ? ` ${row.advice}` : ""}`);
}
