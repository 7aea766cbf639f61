/** Images: pushed blob by blob, then committed by a record; named; removed when nothing uses them. */
import { Hono } from "hono";
import { ImageRequest, MissingRequest, type ImageView } from "../../api/schema.ts";
import { DvsError } from "../../errors.ts";
import { handleMissing, handleUpload, verifyImage } from "../../image/transfer.ts";
import { requestBodyBytesMax } from "../../limits.ts";
import { defaultTenant } from "../../names.ts";
import { ImageRecord, InstanceRecord, keys } from "../../records.ts";
import { settleTxn } from "../../store/settle.ts";
import type { KeyValue, Operation } from "../../store/store.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { read } from "../read.ts";
import { needs } from "./auth.ts";

const tenant = defaultTenant;

export function imageRoutes(coordinator: Coordinator) {
  const { store, blobs, controller } = coordinator;
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

  app.get("/v1/images/:ref", async (c) =>
    c.json(view((await findImage(coordinator, c.req.param("ref"))).record)),
  );

  app.post("/v1/images/missing", needs("operator"), async (c) => {
    const { digests } = await read(c, MissingRequest, "digest list", requestBodyBytesMax * 4);
    return c.json({ missing: await handleMissing(blobs, digests) });
  });

  app.post("/v1/images/upload", needs("operator"), async (c) => {
    if (!c.req.raw.body) throw new DvsError("INVALID", "An upload needs a body.");
    await handleUpload(blobs, c.req.raw.body);
    return c.json({});
  });

  app.post("/v1/images", needs("operator"), async (c) => {
    const request = await read(c, ImageRequest, "image");
    const { entries, bytes } = await verifyImage(blobs, request.digest);
    const files = entries.filter((e) => e.type === "file").length;
    const record = await commit(coordinator, request.digest, request.names, files, bytes);
    return c.json(record, 201);
  });

  app.delete("/v1/images/:ref", needs("operator"), async (c) => {
    const { record, kv } = await findImage(coordinator, c.req.param("ref"));
    // Read from the store, not from the view: an instance made in this very moment counts.
    const { kvs, revision } = await store.range(keys.instances(tenant));
    const user = kvs
      .map((i) => InstanceRecord.parse(JSON.parse(i.value)))
      .find((i) => i.spec.image === record.digest);
    if (user) {
      throw new DvsError(
        "CONFLICT",
        `Cannot remove image ${c.req.param("ref")}: instance "${user.name}" uses it.`,
      );
    }
    const result = await settleTxn(store, {
      if: [{ key: kv.key, target: "mod", op: "=", value: kv.modRevision }],
      then: [{ type: "delete", key: kv.key }],
    });
    if (!result.succeeded) {
      throw new DvsError(
        "CONFLICT",
        `Cannot remove image ${c.req.param("ref")}: it changed meanwhile (revision ${revision}). Try again.`,
      );
    }
    return c.body(null, 204);
  });
  return app;
}

function parse(kv: KeyValue): ImageRecord {
  return ImageRecord.parse(JSON.parse(kv.value));
}

/** By digest, by the beginning of its hex digits (at least 6), or by name. */
export async function findImage(
  coordinator: Coordinator,
  ref: string,
): Promise<{ record: ImageRecord; kv: KeyValue }> {
  const { kvs } = await coordinator.store.range(keys.images(tenant));
  const all = kvs.map((kv) => ({ kv, record: parse(kv) }));
  const found = all.filter(
    ({ record }) =>
      record.digest === ref ||
      record.names.includes(ref) ||
      (/^[0-9a-f]{6,}$/.test(ref) && record.digest.startsWith(`sha256:${ref}`)),
  );
  if (found.length > 1)
    throw new DvsError("INVALID", `Image ${ref} is ambiguous: ${found.length} images begin so.`);
  if (!found[0])
    throw new DvsError("NOT_FOUND", `There is no image ${JSON.stringify(ref)}. See: dvs image ls`);
  return found[0];
}

/** Writes the record, takes the names from whichever image had them. */
async function commit(
  coordinator: Coordinator,
  digest: string,
  names: string[],
  files: number,
  bytes: number,
) {
  const { store } = coordinator;
  for (;;) {
    const { kvs } = await store.range(keys.images(tenant));
    const existing = kvs.find((kv) => parse(kv).digest === digest);
    const record: ImageRecord = {
      digest,
      names: [...new Set([...(existing ? parse(existing).names : []), ...names])],
      files,
      bytes,
      createdAt: existing ? parse(existing).createdAt : new Date().toISOString(),
    };
    const losers = kvs.filter((kv) => kv !== existing && parse(kv).names.some((n) => names.includes(n)));
    const then: Operation[] = [
      { type: "put", key: keys.image(tenant, digest), value: JSON.stringify(record) },
    ];
    for (const kv of losers) {
      const loser = parse(kv);
      const kept = loser.names.filter((n) => !names.includes(n));
      then.push({ type: "put", key: kv.key, value: JSON.stringify({ ...loser, names: kept }) });
    }
    const result = await settleTxn(store, {
      if: [
        { key: keys.image(tenant, digest), target: "mod", op: "=", value: existing?.modRevision ?? 0 },
        ...losers.map((kv) => ({
          key: kv.key,
          target: "mod" as const,
          op: "=" as const,
          value: kv.modRevision,
        })),
      ],
      then,
    });
    if (result.succeeded) return record;
  }
}
