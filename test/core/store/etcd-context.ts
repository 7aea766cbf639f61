/** For tests of etcd's faults: stores with short time-outs, on a cluster of three and on proxies before its members. */
import { afterAll, afterEach, beforeAll } from "bun:test";
import { openEtcdStore, type EtcdOptions } from "../../../core/store/etcd/etcd.ts";
import type { Store } from "../../../core/store/store.ts";
import { etcdMissing, startEtcd, type EtcdCluster } from "./etcd-fixture.ts";
import { startProxy, type TcpProxy } from "./tcp-proxy.ts";

const shortTimes: Partial<EtcdOptions> = {
  timeouts: { attemptMs: 1_000, deadlineMs: 15_000 },
  watchTimes: { openMs: 1_000, probeMs: 200 },
};

/** Must be called within a describe(). */
export function etcdContext() {
  let cluster: EtcdCluster;
  let prefixes = 0;
  const closing: (() => Promise<void>)[] = [];
  beforeAll(async () => {
    if (etcdMissing === null) cluster = await startEtcd(3);
  }, 60_000);
  afterAll(() => cluster?.close());
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });
  return {
    get cluster() {
      return cluster;
    },
    /** Addresses of the members. */
    get addresses() {
      return cluster.members.map((member) => member.address);
    },
    /** A store of its own, or the one of `prefix`. */
    async open(addresses: string[], options: Partial<EtcdOptions> = {}): Promise<Store> {
      const endpoints = addresses.map((address) => `http://${address}`);
      const prefix = `/faults-${(prefixes += 1)}`;
      const store = await openEtcdStore({ ...shortTimes, prefix, ...options, endpoints });
      closing.push(() => store.close());
      return store;
    },
    async proxy(target: string): Promise<TcpProxy> {
      const proxy = await startProxy(target);
      closing.push(() => proxy.close());
      return proxy;
    },
    /** Runs at the end of the test. */
    finally(close: () => Promise<void>): void {
      closing.push(close);
    },
  };
}
