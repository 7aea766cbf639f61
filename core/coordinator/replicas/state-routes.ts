/**
 * What agents call for the state processes of their node (core/agent-protocol.ts), on the port that demands a node's
 * certificate. A takeover must not wait for a successor of the coordinator: so these are answered by every coordinator,
 * also by one that stands by, out of the store and nothing else.
 */
import { Hono } from "hono";
import {
  ChangeProposal,
  ReplicaExit,
  ReplicaRegistration,
  type StateGone,
  StateOf,
} from "../../agent-protocol.ts";
import { DvsError } from "../../errors.ts";
import { keys } from "../../records.ts";
import type { Store } from "../../store/store.ts";
import type { Identity } from "../../trust/identity.ts";
import { answering } from "../answering.ts";
import { errorAnswers } from "../api/errors.ts";
import type { Log } from "../log.ts";
import { read } from "../read.ts";
import { ReplicaStore } from "./replica-store.ts";

const path = "/agent/v1/instances/:uid/state";
const calls = /^\/agent\/v1\/instances\/[^/]+\/state(\/|$)/;

interface StateEnv {
  Bindings: { identity: Identity };
  Variables: { node: string };
}

/** Whether `stateRoutes` is to answer it. */
export function isStateCall(request: Request): boolean {
  return calls.test(new URL(request.url).pathname);
}

export function stateRoutes({ clusterId, store, log }: { clusterId: string; store: Store; log: Log }) {
  const replicas = new ReplicaStore(store);
  const app = new Hono<StateEnv>();
  errorAnswers(app, log);

  app.use(async (c, next) => {
    const { identity } = c.env;
    if (identity.kind !== "node" || identity.clusterId !== clusterId) {
      throw new DvsError("FORBIDDEN", "Only nodes of this cluster may call the agents' port.");
    }
    // A removed node's certificate is worth nothing.
    if (!(await store.get(keys.node(identity.nodeId)))) {
      throw new DvsError("FORBIDDEN", `Node ${identity.nodeId} is not in this cluster: it was removed.`);
    }
    c.set("node", identity.nodeId);
    return next();
  });

  app.post(path, async (c) => {
    return c.json(await replicas.read(same(c.req.param("uid"), await read(c, StateOf, "request"))));
  });

  app.post(`${path}/replica`, async (c) => {
    const registration = same(c.req.param("uid"), await read(c, ReplicaRegistration, "registration"));
    await replicas.register(c.get("node"), registration);
    return c.json({});
  });

  app.post(`${path}/change`, async (c) => {
    const { change, ...of } = same(c.req.param("uid"), await read(c, ChangeProposal, "change"));
    return c.json(await replicas.change(c.get("node"), of, change));
  });

  app.post(`${path}/gone`, async (c) => {
    const of = same(c.req.param("uid"), await read(c, StateOf, "request"));
    return c.json({ gone: await replicas.isGone(c.get("node"), of) } satisfies StateGone);
  });

  app.post(`${path}/exit`, async (c) => {
    const exit = same(c.req.param("uid"), await read(c, ReplicaExit, "exit certificate"));
    await replicas.certify(c.get("node"), exit);
    return c.json({});
  });

  return answering((request, identity: Identity) => app.fetch(request, { identity }));
}

function same<T extends StateOf>(uid: string, body: T): T {
  if (body.uid === uid) return body;
  throw new DvsError("INVALID", `The path names instance ${uid}, and the body instance ${body.uid}.`);
}
