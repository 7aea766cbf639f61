/** Images: pushed blob by blob, then committed by a record; named; removed when nothing uses them. */
import { Hono } from "hono";
import { ImageRequest, MissingRequest, type ImageView } from "../../api/schema.ts";
import { DvsError } from "../../errors.ts";
import { handleMissing, handleUpload, verifyImage } from "../../image/transfer.ts";
import { defaultTenant } from "../../names.ts";
import { ImageRecord, InstanceRecord, keys } from "../../records.ts";
import { settleTxn } from "../../store/settle.ts";
import type { Compare, KeyValue, Operation, Store } from "../../store/store.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { read } from "../read.ts";

const tenant = defaultTenant;

export function imageRoutes(coordinator: Coordinator) {
  const { store, blobs, controller, copies } = coordinator;
  const app = new Hono<ApiEnv>();

  const view = (record: ImageRecord): ImageView => ({
    ...record,
    usedBy: controller
      .instanceViews(tenant)
      .filter((i) => i.spec.image === record.digest)
      .map((i) => i.name),
  });

  app.get("/v1/images", async (c) => {
    const { kvs } = await store.range(keys.images(tenant));
    return c.json(kvs.map((kv) => view(parse(kv))));
  });

  app.get("/v1/images/:ref", async (c) => c.json(view(parse(await findImage(store, c.req.param("ref"))))));

  app.post("/v1/images/missing", async (c) => {
    const { digests } = await read(c, MissingRequest, "digest list");
    return c.json({ missing: await handleMissing(blobs, digests) });
  });

  app.post("/v1/images/upload", async (c) => {
    const { body, signal } = c.req.raw;
    if (!body) throw new DvsError("INVALID", "An upload needs a body.");
    return c.json(await handleUpload(blobs, body, { signal: AbortSignal.any([signal, coordinator.signal]) }));
  });

  app.post("/v1/images", async (c) => {
    const { digest, names } = await read(c, ImageRequest, "image");
    const { entries, bytes } = await verifyImage(blobs, digest);
    // A coordinator that is lost tomorrow must not take it along.
    await copies.secure(digest, AbortSignal.any([c.req.raw.signal, coordinator.signal]));
    const files = entries.filter((e) => e.type === "file").length;
    return c.json(await commit(store, { digest, names, files, bytes }), 201);
  });

  app.delete("/v1/images/:ref", async (c) => {
    await remove(store, c.req.param("ref"));
    return c.body(null, 204);
  });
  return app;
}

function parse(kv: KeyValue): ImageRecord {
  return ImageRecord.parse(JSON.parse(kv.value));
}

/** By digest or name, else by the beginning of the digest's hex digits (at least 6). Throws NOT_FOUND, INVALID. */
export async function findImage(store: Store, ref: string): Promise<KeyValue> {
  const { kvs } = await store.range(keys.images(tenant));
  const exact = kvs.find((kv) => {
    const { digest, names } = parse(kv);
    return digest === ref || names.includes(ref);
  });
  if (exact) return exact;
  const begin = /^[0-9a-f]{6,}$/.test(ref)
    ? kvs.filter((kv) => parse(kv).digest.startsWith(`sha256:${ref}`))
    : [];
  if (begin.length > 1) {
    throw new DvsError(
      "INVALID",
      `Image ${ref} is ambiguous: ${begin.length} images begin so. Give more digits.`,
    );
  }
  if (begin[0]) return begin[0];
  throw new DvsError("NOT_FOUND", `There is no image ${JSON.stringify(ref)}. See: dvs image ls`);
}

/** Writes the record, and takes the names from whichever images had them. */
async function commit(
  store: Store,
  { digest, names, files, bytes }: Omit<ImageRecord, "createdAt">,
): Promise<ImageRecord> {
  const key = keys.image(tenant, digest);
  for (;;) {
    const { kvs } = await store.range(keys.images(tenant));
    const existing = kvs.find((kv) => kv.key === key);
    const before = existing && parse(existing);
    const record: ImageRecord = {
      digest,
      names: [...new Set([...(before?.names ?? []), ...names])],
      files,
      bytes,
      createdAt: before?.createdAt ?? new Date().toISOString(),
    };
    const losers = kvs.filter((kv) => kv !== existing && parse(kv).names.some((n) => names.includes(n)));
    const compares: Compare[] = [
      existing ? unchanged(existing) : { key, target: "create", op: "=", value: 0 },
    ];
    const puts: Operation[] = [{ type: "put", key, value: JSON.stringify(record) }];
    for (const kv of losers) {
      const loser = parse(kv);
      const kept = { ...loser, names: loser.names.filter((n) => !names.includes(n)) };
      compares.push(unchanged(kv));
      puts.push({ type: "put", key: kv.key, value: JSON.stringify(kept) });
    }
    if ((await settleTxn(store, { if: compares, then: puts })).succeeded) return record;
  }
}

/** Throws CONFLICT when an instance uses it. */
async function remove(store: Store, ref: string): Promise<void> {
  for (;;) {
    const kv = await findImage(store, ref);
    const { digest } = parse(kv);
    // Read after the record of the image: a creation writes that record too, so one that comes later is noticed.
    const { kvs } = await store.range(keys.instances(tenant));
    const user = kvs
      .map((i) => InstanceRecord.parse(JSON.parse(i.value)))
      .find((i) => i.spec.image === digest);
    if (user) throw new DvsError("CONFLICT", `Cannot remove image ${ref}: instance "${user.name}" uses it.`);
    const result = await settleTxn(store, { if: [unchanged(kv)], then: [{ type: "delete", key: kv.key }] });
    if (result.succeeded) return;
  }
}

/** For the `if` of a transaction. */
export function unchanged(kv: KeyValue): Compare {
  return { key: kv.key, target: "mod", op: "=", value: kv.modRevision };
}
