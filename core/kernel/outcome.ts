/**
 * How a call ends. Each call has exactly one outcome, and a definite one tells the truth: OK was done once; after
 * OUTCOME_UNKNOWN nobody knows; every other was not done by any process that lives: after DIED the process may have
 * taken the message, and whatever it did with it in its own memory has died with it.
 */
export const outcomes = {
  OK: "done",
  /** The caller's own deadline passed and nothing had been taken by the other side. */
  TIMED_OUT: "the deadline passed before the other side took it",
  /** The caller's own deadline passed, or it gave up, when the other side may have taken it already. */
  OUTCOME_UNKNOWN: "it may or may not have been carried out",
  CANCELLED: "the caller gave up before the other side took it",
  /** A view record says that the kernel, or the endpoint's own end, came first. */
  DIED: "the process at the other end has died",
  NOT_BOUND: "no process has this endpoint or name",
  /** By the privileges that the VOS declared. */
  NOT_ALLOWED: "the caller has no privilege for it",
  TOO_LARGE: "the message has more bytes than a message may have",
  /** See bodyBytes() in message.ts for what a body may be. */
  BAD_MESSAGE: "its type is no integer from 0, or its body no plain value",
  /** Two processes that send to each other would wait for ever. */
  DEADLOCK: "the other side waits for the caller",
  /** More calls under way than a process may have. */
  BUSY: "too many calls of this process are under way",
  /** The reply was to nobody: its caller has gone, or has its answer. */
  NOT_WAITING: "nobody waits for this reply",
  NAME_TAKEN: "another endpoint has this name",
  NO_SLOTS: "every slot of the instance is in use",
  /** Or its owner has opened it for somebody else, or not for this, or not so far. */
  NO_GRANT: "there is no such grant for the caller",
  /** For the old kernel's host only: the process goes on, with this call, where it is now. */
  MOVED: "the process has moved to another kernel, and the call with it",
  /** This kernel is no longer in the view. */
  EXITED: "this kernel has been removed from the instance",
} as const;
export type Outcome = keyof typeof outcomes;
