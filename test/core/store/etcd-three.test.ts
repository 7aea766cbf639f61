import { etcdSuite } from "./etcd-subject.ts";

etcdSuite("etcd, three members", 3);
