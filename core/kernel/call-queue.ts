/** Calls in order, linked through themselves: adding and removing any of them is a few assignments. */
import type { Call } from "./call.ts";

export class CallQueue {
  head: Call | null = null;
  tail: Call | null = null;
  length = 0;

  push(call: Call): void {
    const { tail } = this;
    call.previous = tail;
    call.next = null;
    if (tail) tail.next = call;
    else this.head = call;
    this.tail = call;
    call.queue = this;
    this.length++;
  }

  /** Before `at`, which is in the queue. */
  insertBefore(at: Call, call: Call): void {
    const { previous } = at;
    call.previous = previous;
    call.next = at;
    at.previous = call;
    if (previous) previous.next = call;
    else this.head = call;
    call.queue = this;
    this.length++;
  }

  /** It must be in this queue. */
  remove(call: Call): void {
    const { next, previous } = call;
    if (previous) previous.next = next;
    else this.head = next;
    if (next) next.previous = previous;
    else this.tail = previous;
    call.next = null;
    call.previous = null;
    call.queue = null;
    this.length--;
  }

  shift(): Call | null {
    const { head } = this;
    if (head) this.remove(head);
    return head;
  }

  /** What it holds now; calls may be removed while one goes through them. */
  toArray(): Call[] {
    const calls: Call[] = [];
    for (let call = this.head; call; call = call.next) calls.push(call);
    return calls;
  }
}
