/** The suite's store on a running etcd, each with a prefix of its own. */
import { afterAll, beforeAll } from "bun:test";
import { openStore } from "../../../core/store/open.ts";
import { etcdMissing, skipNote, startEtcd, type EtcdCluster } from "./etcd-fixture.ts";
import { storeSuite } from "./store-suite.ts";

export function etcdSuite(name: string, members: 1 | 3): void {
  let cluster: EtcdCluster;
  const skip = etcdMissing !== null;
  if (!skip) {
    beforeAll(async () => {
      cluster = await startEtcd(members);
    }, 60_000);
    afterAll(() => cluster.close());
  }
  const open = async () => {
    const url = cluster.url();
    const subject = {
      store: await openStore(url),
      /** A power cut of all its machines. */
      reopen: async () => {
        await subject.store.close();
        await Promise.all(cluster.members.map((member) => member.kill()));
        for (const member of cluster.members) member.start();
        await cluster.ready();
        return (subject.store = await openStore(url));
      },
    };
    return subject;
  };
  storeSuite(`${name}${skipNote}`, open, { skip });
}
