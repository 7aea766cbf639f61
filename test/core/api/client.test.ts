import { afterAll, afterEach, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { createApi, type Api } from "../../../core/api/client.ts";
import { DvsError, type ErrorCode } from "../../../core/errors.ts";
import { serveHttp, type HttpServer } from "../../../core/platform/http.ts";
import { pushImage } from "../../../core/image/transfer.ts";
import type { BuiltImage } from "../../../core/image/builder.ts";
import { digestOf } from "../../../core/image/digest.ts";
import { mintApiToken } from "../../../core/trust/tokens.ts";
import { fingerprint } from "../../../core/trust/authority.ts";
import { coordinatorUri } from "../../../core/trust/identity.ts";
import { authority, issued } from "../trust/lab.ts";

setDefaultTimeout(30_000);

let server: HttpServer;
let api: Api;
let answer: (request: Request) => Response | Promise<Response>;
const seen: string[] = [];

beforeAll(async () => {
  const ca = await authority();
  server = await serveHttp({
    listen: { host: "127.0.0.1", port: 0 },
    tls: await issued(ca, coordinatorUri("c1", "k1")),
    fetch(request) {
      seen.push(`${request.method} ${new URL(request.url).pathname}`);
      return answer(request);
    },
  });
  const { token } = mintApiToken({ caFingerprint: fingerprint(ca.certificate) });
  api = createApi({ addresses: [`127.0.0.1:${server.port}`], token, timeoutMs: 5_000 });
});
afterEach(() => {
  seen.length = 0;
});
afterAll(async () => {
  api.close();
  await server.stop(0);
});

const refusal = (code: ErrorCode, message: string) => {
  const error = new DvsError(code, message);
  return Response.json(error.toBody(), { status: error.status });
};

async function failure(action: Promise<unknown>): Promise<{ code: string; message: string }> {
  const thrown: unknown = await action.then(
    () => new Error("it did not fail"),
    (e: unknown) => e,
  );
  const e = thrown as DvsError;
  return { code: e.code, message: e.message };
}

/** Contents of three files, as what is to be pushed. */
async function image(): Promise<Pick<BuiltImage, "digest" | "entries" | "size" | "read" | "openStream">> {
  const contents = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const text of ["manifest", "a", "b"]) {
    const bytes = new TextEncoder().encode(text);
    contents.set(digestOf(bytes), bytes);
  }
  const [digest = "", ...files] = contents.keys();
  return {
    digest,
    entries: files.map((file, i) => ({
      path: `/${i}`,
      type: "file",
      size: 1,
      digest: file,
      mode: 0o644,
      target: "",
    })),
    size: (d) => contents.get(d)?.length,
    read: (d) => Promise.resolve(contents.get(d)!),
    openStream: (d) => new Response(contents.get(d)).body!,
  };
}

test("the server's error is the error here, with code, message, issues and cause", async () => {
  answer = () =>
    Response.json(
      { error: { code: "INVALID", message: "no", issues: [{ path: "a.b", message: "bad" }], cause: "why" } },
      { status: 400 },
    );
  const e = await api.nodes.list().then(
    () => null,
    (thrown: unknown) => thrown as DvsError,
  );
  expect(e).toBeInstanceOf(DvsError);
  expect(e).toMatchObject({ code: "INVALID", message: "no", issues: [{ path: "a.b", message: "bad" }] });
  expect((e!.cause as Error).message).toBe("why");
});

test("an answer that is no JSON, or of another version, is an error of dvs and not of JSON", async () => {
  for (const body of ["<html>", "", "{}", '[{"id":1}]']) {
    answer = () => new Response(body);
    expect(await failure(api.nodes.list())).toEqual({
      code: "INTERNAL",
      message: expect.stringContaining("is it another version of dvs?") as string,
    });
  }
  answer = () => new Response("<html>Bad gateway", { status: 502 });
  expect((await failure(api.nodes.list())).message).toContain("answered 502: <html>Bad gateway");
});

test("names become one part of the path, whatever they hold", async () => {
  answer = () => refusal("NOT_FOUND", "none");
  await failure(api.instances.get("../tokens"));
  await failure(api.images.get("a/b?c#d"));
  expect(seen).toEqual(["GET /v1/instances/..%2Ftokens", "GET /v1/images/a%2Fb%3Fc%23d"]);
});

test("a push goes on after UNAVAILABLE, and sends only what still lacks", async () => {
  const { digest, ...rest } = await image();
  let uploads = 0;
  const missing: string[][] = [];
  answer = async (request) => {
    if (request.url.endsWith("/missing")) {
      const { digests } = (await request.json()) as { digests: string[] };
      missing.push(digests);
      // The second question comes after the first, failed upload: one of the files came through.
      return Response.json({ missing: missing.length === 2 ? digests.slice(1) : digests });
    }
    await request.arrayBuffer();
    return ++uploads === 1 ? refusal("UNAVAILABLE", "the disk did not keep it") : Response.json({});
  };
  await pushImage({ digest, ...rest }, api.images.remote());
  // Two files of which one had to be sent again, then the manifest.
  expect(uploads).toBe(3);
  expect(missing.map((m) => m.length)).toEqual([3, 2]);
});

test("a full disk at the coordinator ends a push at once, in the coordinator's words", async () => {
  let uploads = 0;
  answer = async (request) => {
    if (request.url.endsWith("/missing"))
      return Response.json({ missing: ((await request.json()) as { digests: string[] }).digests });
    uploads++;
    return refusal("EXHAUSTED", "Cannot store blob x in /data: 5 bytes are needed, 0 are free.");
  };
  expect(await failure(pushImage(await image(), api.images.remote()))).toEqual({
    code: "EXHAUSTED",
    message: "Cannot store blob x in /data: 5 bytes are needed, 0 are free.",
  });
  expect(uploads).toBe(1);
});

test("an upload ends with its signal, and the coordinator sees its end", async () => {
  const abort = new AbortController();
  const arrived = Promise.withResolvers<void>();
  const broken = Promise.withResolvers<void>();
  answer = async (request) => {
    const reader = request.body!.getReader();
    try {
      for (;;) {
        const { done } = await reader.read();
        arrived.resolve();
        if (done) break;
      }
    } catch {
      // Cut off.
    }
    broken.resolve();
    return Response.json({});
  };
  let cancelled: unknown;
  const endless = new ReadableStream<Uint8Array>({
    async pull(controller) {
      controller.enqueue(new Uint8Array(1_000));
      await new Promise((resolve) => setTimeout(resolve, 5));
    },
    cancel(reason) {
      cancelled = reason ?? "cancelled";
    },
  });
  const uploading = failure(api.images.remote().upload(endless, abort.signal));
  await arrived.promise;
  abort.abort(new DvsError("TIMEOUT", "enough"));
  expect((await uploading).message).toBe("enough");
  await broken.promise;
  expect(cancelled).toBeDefined();
});

test("an error in the middle of a stream is thrown as what it is, after what came before", async () => {
  const event = { at: "t", type: "normal", subject: "s", reason: "r", message: "m" };
  const error = new DvsError("UNAVAILABLE", "gone").toBody();
  answer = () => new Response(`${JSON.stringify(event)}\n\n\n${JSON.stringify(error)}\n`);
  const events: unknown[] = [];
  const read = async () => {
    for await (const e of api.events()) events.push(e);
  };
  expect(await failure(read())).toEqual({ code: "UNAVAILABLE", message: "gone" });
  expect(events).toEqual([event]);
});

test("a stream that was cut in the middle of a line, or holds another thing, is an error", async () => {
  const read = async () => {
    for await (const _ of api.events());
  };
  answer = () => new Response('{"at":"t"');
  expect((await failure(read())).code).toBe("UNAVAILABLE");
  answer = () => new Response('{"at":"t"}\n');
  expect((await failure(read())).code).toBe("INTERNAL");
});

test("a stream in which nothing comes, not even an empty line, ends: its coordinator is stopped", async () => {
  const cancelled = Promise.withResolvers<void>();
  answer = () =>
    new Response(
      new ReadableStream({
        start: (controller) => controller.enqueue(new TextEncoder().encode("\n")),
        cancel: () => cancelled.resolve(),
      }),
    );
  const e = await failure(api.instances.watch().next());
  expect(e).toEqual({ code: "UNAVAILABLE", message: expect.stringContaining("silent for 5 s") as string });
  await cancelled.promise;
});
