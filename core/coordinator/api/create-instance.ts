/** The creation of an instance: checked against what this cluster can run, then one transaction with its ports. */
import { createHash } from "node:crypto";
import type { z } from "zod";
import type { InstanceRequest } from "../../api/schema.ts";
import type { InstanceView } from "../../api/views.ts";
import { createConflict, createTxn } from "../../control/requests.ts";
import { DvsError, parseOrThrow } from "../../errors.ts";
import { keys, type InstanceRecord, type InstanceSpec } from "../../records.ts";
import { settleTxn } from "../../store/settle.ts";
import type { KeyValue, TxnResult } from "../../store/store.ts";
import { completePolicy, policyMistakes } from "../../state/policy.ts";
import { needsOf, type VosRegistry } from "../../vos.ts";
import type { Coordinator } from "../context.ts";
import { eventStamp, randomId } from "../random.ts";
import { unchanged } from "./images.ts";

type Request = z.output<typeof InstanceRequest>;

/** Resolves when the controller has seen it. Throws INVALID, CONFLICT (name, port), NOT_FOUND (image). */
export async function createInstance(
  { store, driver, controller, registry }: Coordinator,
  tenant: string,
  request: Request,
  idempotencyKey: string | undefined,
): Promise<InstanceView> {
  const record: InstanceRecord = {
    tenant,
    name: request.name,
    uid: uidOf(idempotencyKey, request),
    spec: await complete(registry, request.spec),
    generation: 1,
    desired: "running",
    phase: "creating",
    failure: null,
    placement: [],
    replicas: [],
    createdAt: new Date().toISOString(),
  };
  for (;;) {
    const image = record.spec.image === null ? null : await store.get(keys.image(tenant, record.spec.image));
    const result = await settleTxn(store, txnOf(record, image));
    const conflict = result.succeeded ? null : createConflict(record, result);
    if (conflict && image && isOnlyImage(record, result)) continue;
    if (conflict) throw conflict;
    await driver.seen(result.revision);
    const view = controller.instanceView(tenant, record.name);
    if (view) return view;
    throw new DvsError("NOT_FOUND", `Instance "${record.name}" was created and has been removed already.`);
  }
}

/**
 * The record of the image is written as it is: whoever removes the image in this very moment compares its revision
 * and finds it changed.
 */
function txnOf(record: InstanceRecord, image: KeyValue | null) {
  const txn = createTxn(record, eventStamp());
  if (!image) return txn;
  txn.if.push(unchanged(image));
  txn.then.push({ type: "put", key: image.key, value: image.value });
  return txn;
}

/** Name and ports are free: somebody wrote the image's record meanwhile, as another creation does. */
function isOnlyImage(record: InstanceRecord, { results }: TxnResult): boolean {
  return results.slice(0, 1 + record.spec.publish.length).every((kv) => kv === null);
}

/**
 * The same key and request give the same instance, so that a creation whose answer was lost can be sent again. With
 * another request the key stands for another instance: two never share a uid.
 */
function uidOf(idempotencyKey: string | undefined, request: Request): string {
  if (idempotencyKey === undefined) return randomId();
  if (!/^[\x21-\x7e]{8,128}$/.test(idempotencyKey)) {
    throw new DvsError("INVALID", "Invalid idempotency-key: it must have 8 to 128 visible ASCII characters.");
  }
  const text = JSON.stringify([idempotencyKey, request]);
  return createHash("sha256").update(text).digest("hex").slice(0, 24);
}

/** Checks the spec against the VOS that it names; returns it with defaults filled in. */
async function complete(registry: VosRegistry, spec: Request["spec"]): Promise<InstanceSpec> {
  const plugin = await registry.load(spec.os);
  if (!plugin) {
    const names = registry.names().join(", ");
    throw new DvsError("INVALID", `Unknown OS ${JSON.stringify(spec.os)}. This cluster can run: ${names}.`, {
      issues: [{ path: "spec.os", message: `must be one of ${names}` }],
    });
  }
  if (plugin.image === "required" && spec.image === null) {
    throw new DvsError("INVALID", `OS ${spec.os} boots from an image: give --site DIR or --image NAME.`);
  }
  if (plugin.image === "none" && spec.image !== null) {
    throw new DvsError("INVALID", `OS ${spec.os} takes no image.`);
  }
  const options = parseOrThrow(plugin.options, spec.options, `options of OS ${spec.os}`);
  const state = stateOf(needsOf(plugin, options).state === true, spec);
  return { ...spec, options: options as Record<string, unknown>, state };
}

function stateOf(keepsState: boolean, { os, nodes, state }: Request["spec"]): InstanceSpec["state"] {
  const mistakes = policyMistakes(state ?? {}, nodes, keepsState);
  if (mistakes.length === 0) return keepsState ? completePolicy(state ?? {}, nodes) : null;
  const issues = mistakes.map(({ path, message }) => ({ path: `spec.state.${path}`, message }));
  const lines = issues.map(({ path, message }) => `  ${path}: ${message}`);
  throw new DvsError("INVALID", `Cannot keep the state of OS ${os} like that:\n${lines.join("\n")}`, {
    issues,
  });
}
