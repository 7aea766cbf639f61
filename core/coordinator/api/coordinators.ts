/** The coordinators: who they are and how they fare; one that joins the store of the others; one that is gone for good. */
import { Hono } from "hono";
import {
  CoordinatorJoinRequest,
  type CoordinatorJoinAnswer,
  type CoordinatorView,
} from "../../api/coordinators.ts";
import { DvsError } from "../../errors.ts";
import { KiB } from "../../limits.ts";
import { keys } from "../../records.ts";
import { settleTxn } from "../../store/settle.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { readStoreAuthority, signMember } from "../ha/store-authority.ts";
import { queryFlag, read } from "../read.ts";
import { needs } from "./auth.ts";
import { findJoinToken } from "./join.ts";

/** Anybody may send one. */
const joinBytesMax = 64 * KiB;

export function coordinatorJoinRoutes({ store, members }: Coordinator) {
  return new Hono().post("/v1/coordinators/join", async (c) => {
    const request = await read(c, CoordinatorJoinRequest, "join request", joinBytesMax);
    await findJoinToken(store, request.id, request.secret, "coordinator");
    const authority = await readStoreAuthority(store);
    await members.refresh();
    const endpoints = members.all.flatMap((m) => (m.etcd ? [m.etcd.client] : []));
    if (!authority || endpoints.length === 0) {
      throw new DvsError(
        "FAILED",
        "Cannot join: the coordinators of this cluster do not run their store themselves (--ha). Start this one with the --store that the others use.",
      );
    }
    const { csr, coordinator, host } = request;
    const answer: CoordinatorJoinAnswer = {
      ca: authority.certificate,
      certificate: await signMember(authority, csr, coordinator, [host]),
      endpoints,
    };
    return c.json(answer);
  });
}

export function coordinatorRoutes(coordinator: Coordinator) {
  const { store, members, peers, ha } = coordinator;
  const app = new Hono<ApiEnv>();

  const views = (): CoordinatorView[] => {
    const others = peers.views().map(({ member, state, health }): CoordinatorView => {
      const up = state === "up" ? health : null;
      return {
        id: member.id,
        address: member.api,
        acting: false,
        state,
        version: up?.version ?? "",
        imagesLacking: up?.imagesLacking ?? null,
        etcd: member.etcd?.client ?? null,
      };
    });
    const own: CoordinatorView = {
      id: coordinator.id,
      address: coordinator.addresses().api,
      acting: true,
      state: "up",
      version: coordinator.version,
      imagesLacking: coordinator.copies.lacking,
      etcd: ha?.etcd.client ?? null,
    };
    return [own, ...others];
  };

  app.get("/v1/coordinators", (c) => c.json(views()));

  app.delete("/v1/coordinators/:id", needs("admin"), async (c) => {
    const id = c.req.param("id");
    const view = views().find((v) => v.id === id || v.address === id);
    if (!view) {
      throw new DvsError(
        "NOT_FOUND",
        `There is no coordinator ${JSON.stringify(id)}. See: dvs coordinator ls`,
      );
    }
    if (view.acting) {
      throw new DvsError(
        "CONFLICT",
        `Cannot remove coordinator ${id}: it acts. Stop it first; another takes over.`,
      );
    }
    if (view.state !== "down" && !queryFlag(c.req.query("force"), "force")) {
      throw new DvsError(
        "CONFLICT",
        `Cannot remove coordinator ${id}: it is ${view.state}. Stop it first, or use --force.`,
      );
    }
    // Out of the store first: what is left of the members must be a majority of them again.
    const peerUrl = members.get(view.id)?.etcd?.peer;
    if (ha && peerUrl !== undefined) await ha.remove(peerUrl);
    await settleTxn(store, { if: [], then: [{ type: "delete", key: keys.coordinator(view.id) }] });
    await members.refresh();
    return c.body(null, 204);
  });
  return app;
}
