/** The leader of etcd is killed or hangs under writers: what was acknowledged is there, once. */
import { describe, expect, test } from "bun:test";
import type { EtcdMember } from "./etcd-fixture.ts";
import { historyOf, startCounter } from "./counter.ts";
import { etcdContext } from "./etcd-context.ts";
import { etcdMissing, skipNote } from "./etcd-fixture.ts";

describe.skipIf(etcdMissing !== null)(`etcd's leader${skipNote}`, () => {
  const etcd = etcdContext();

  async function survives(lose: (leader: EtcdMember) => Promise<void>, back: (leader: EtcdMember) => void) {
    const prefix = `/leader-${crypto.randomUUID()}`;
    const leader = await etcd.cluster.leader();
    // The leader first, so that the loss is felt.
    const others = etcd.addresses.filter((address) => address !== leader.address);
    const store = await etcd.open([leader.address, ...others], { prefix });
    const { revision } = await store.range("");
    const counter = startCounter(store, "/n", 3);
    await counter.more(20);
    await lose(leader);
    await counter.more(20);
    back(leader);
    await counter.more(20);
    await counter.stop();
    await etcd.cluster.ready();

    const history = await historyOf(await etcd.open(etcd.addresses, { prefix }), "/n", revision + 1);
    expect(history.map((v) => v.n)).toEqual(history.map((_, i) => i + 1));
    const ids = history.map((v) => v.id);
    expect(new Set(ids).size).toBe(ids.length);
    const unknown = new Set(counter.unknown);
    expect(ids.filter((id) => !unknown.has(id)).sort()).toEqual(counter.acknowledged.toSorted());
  }

  test(
    "is killed: no acknowledged write is lost, none is applied twice",
    () =>
      survives(
        (leader) => leader.kill(),
        (leader) => leader.start(),
      ),
    60_000,
  );

  test(
    "hangs and wakes up again: no acknowledged write is lost, none is applied twice",
    () =>
      survives(
        async (leader) => leader.stop(),
        (leader) => leader.resume(),
      ),
    60_000,
  );
});
