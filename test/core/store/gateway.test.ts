/** Which member of etcd is asked. */
import { expect, test } from "bun:test";
import { systemClock } from "../../../core/store/clock.ts";
import { Gateway } from "../../../core/store/etcd/gateway.ts";
import type { EtcdTransport } from "../../../core/store/etcd/transport.ts";

const [near, far] = ["http://127.0.0.1:1", "http://127.0.0.1:2"];

test("a member that failed is left, and gone back to when it is said to be well", async () => {
  const asked: string[] = [];
  let nearIsWell = false;
  const transport: EtcdTransport = {
    send({ endpoint }) {
      asked.push(endpoint);
      if (endpoint === near && !nearIsWell) return Promise.reject(new Error("no leader"));
      return Promise.resolve(Response.json({}));
    },
    close() {},
  };
  const timeouts = { attemptMs: 1_000, deadlineMs: 5_000 };
  const gateway = new Gateway([near, far], timeouts, systemClock, { transport });
  const ask = async () => {
    asked.length = 0;
    await gateway.call("kv/range", {}, "repeat");
    return asked;
  };
  expect(await ask()).toEqual([near, far]);
  nearIsWell = true;
  expect(await ask()).toEqual([far]);
  gateway.prefer("http://127.0.0.1:3");
  expect(await ask()).toEqual([far]);
  gateway.prefer(near);
  expect(await ask()).toEqual([near]);
});
