import { etcdSuite } from "./etcd-subject.ts";

etcdSuite("etcd, one member", 1);
