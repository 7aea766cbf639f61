import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DvsError, type ErrorCode } from "../../../core/errors.ts";
import { openMemoryStore } from "../../../core/store/memory/memory.ts";
import { openStore } from "../../../core/store/open.ts";
import { toDvsError } from "../../../core/store/errors.ts";
import { StoreError } from "../../../core/store/store.ts";
import { backupStore, restoreStore } from "../../../core/store/transfer.ts";
import { put } from "./store-suite.ts";

async function refusal(promise: Promise<unknown>, code: ErrorCode): Promise<string> {
  const error = await promise.then(
    () => new Error("was not refused"),
    (e: unknown) => e,
  );
  if (!(error instanceof DvsError)) throw error;
  expect(error.code).toBe(code);
  return error.message;
}

test("URLs that name no store are refused, each with the reason", async () => {
  const table: [string, string][] = [
    ["", "must begin with memory:, sqlite: or etcd://"],
    ["postgres://x", "must begin with"],
    ["MEMORY:", "must begin with"],
    ["memory:x", "takes nothing behind the colon"],
    ["sqlite:", "a path to a file is needed"],
    ["sqlite:/dir/", "a path to a file is needed"],
    ["sqlite://host/store.db", "a path to a file is needed"],
    ["etcd:", "members are needed"],
    ["etcd://", "members are needed"],
    ["etcd:///dvs", "members are needed"],
    ["etcd://127.0.0.1", `"127.0.0.1" is no HOST:PORT`],
    ["etcd://127.0.0.1:0", "is no HOST:PORT"],
    ["etcd://127.0.0.1:65536", "is no HOST:PORT"],
    ["etcd://127.0.0.1:2379,", `"" is no HOST:PORT`],
    ["etcd://user:pw@127.0.0.1:2379", "is no HOST:PORT"],
    ["etcd://127.0.0.1:2379,127.0.0.1:2379", "named twice"],
    ["etcd://127.0.0.1:2379/a b", "the prefix"],
    ["etcd://127.0.0.1:2379//a", "the prefix"],
    ["etcd://127.0.0.1:2379/a?x=1", "the prefix"],
  ];
  for (const [url, words] of table) {
    const message = await refusal(openStore(url), "INVALID");
    expect(message).toContain(`Cannot use ${JSON.stringify(url)} as a store`);
    expect(message).toContain(words);
  }
});

test("memory: and sqlite: open what they name", async () => {
  const memory = await openStore("memory:");
  expect((await memory.status()).driver).toBe("memory");
  await memory.close();
  const dir = mkdtempSync(join(tmpdir(), "dvs-"));
  const sqlite = await openStore(`sqlite:${join(dir, "store.db")}`);
  expect((await sqlite.status()).driver).toBe("sqlite");
  await refusal(openStore(`sqlite://${join(dir, "store.db")}`), "CONFLICT");
  await sqlite.close();
  rmSync(dir, { recursive: true });
});

test("a store that a copy filled only in part is not opened", async () => {
  const dir = mkdtempSync(join(tmpdir(), "dvs-"));
  const url = `sqlite:${join(dir, "store.db")}`;
  const from = openMemoryStore();
  await put(from, "/a", "1");
  await put(from, "/b", "2");
  const lines: string[] = [];
  for await (const line of backupStore(from)) lines.push(line);

  const half = await openStore(url);
  const cut = (async function* () {
    yield* lines.slice(0, -1);
  })();
  expect(await refusal(restoreStore(half, cut), "INVALID")).toContain("its end is missing");
  await half.close();
  expect(await refusal(openStore(url), "FAILED")).toContain("a copy into it was not completed");
  rmSync(dir, { recursive: true });
});

test("a backup that is damaged is refused", async () => {
  const whole = [
    '{"format":"dvs store","version":1,"generation":5,"revision":9}',
    '{"key":"/a","value":"1"}',
    '{"keys":1}',
  ];
  const damages: [(lines: string[]) => string[], string][] = [
    [() => [], "not JSON"],
    [() => ["{}"], "it is none"],
    [(l) => [l[0]!.replace(`"version":1`, `"version":2`), ...l.slice(1)], "format 2, this dvs knows 1"],
    [(l) => l.slice(1), "it is none"],
    [(l) => [l[0]!, l[2]!], "it says 1 keys and has 0"],
    [(l) => [l[0]!, '{"key":"!generation","value":"1"}', l[2]!], "a line that is no key"],
    [(l) => [l[0]!, '{"key":"/a","val', l[2]!], "not JSON"],
  ];
  for (const [damage, words] of damages) {
    const lines = damage(whole);
    const filling = restoreStore(
      openMemoryStore(),
      (async function* () {
        yield* lines;
      })(),
    );
    expect(await refusal(filling, "INVALID")).toContain(words);
  }
  const store = openMemoryStore();
  const lines = (async function* () {
    yield* whole;
  })();
  expect(await restoreStore(store, lines)).toEqual({ keys: 1, generation: 6 });
  expect((await store.get("/a"))!.value).toBe("1");
});

test("etcd that is too old is refused", async () => {
  const server = createServer((_, response) => response.end('{"version":"3.3.25"}')).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  expect(await refusal(openStore(`etcd://127.0.0.1:${port}`), "INVALID")).toContain("dvs needs 3.4 or newer");
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test("every error of a store is one that people can read", () => {
  const codes: [StoreError["code"], ErrorCode][] = [
    ["UNAVAILABLE", "UNAVAILABLE"],
    ["UNKNOWN_OUTCOME", "OUTCOME_UNKNOWN"],
    ["COMPACTED", "CONFLICT"],
    ["LEASE_NOT_FOUND", "NOT_FOUND"],
    ["INVALID", "INVALID"],
    ["NO_SPACE", "EXHAUSTED"],
  ];
  for (const [code, expected] of codes) {
    expect(toDvsError(new StoreError(code, "why"))).toMatchObject({ code: expected, message: "why" });
  }
  expect(toDvsError(new Error("odd")).code).toBe("INTERNAL");
});
