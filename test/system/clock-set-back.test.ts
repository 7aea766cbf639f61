/**
 * The clock of all machines is set back an hour while the cluster runs. Coordinator and agents see it through a
 * small library that answers for the system's clock (the C compiler makes it; without one this is skipped).
 */
import { afterAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EventRecord } from "../../core/records.ts";
import { clusterForFile, createHello, createWeb, get, helloRequest } from "./fixture.ts";

const source = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static int (*real)(clockid_t, struct timespec *);
static long back(void) {
  static long looked_at = -1, back = 0;
  struct timespec now;
  real(CLOCK_MONOTONIC, &now);
  long tick = now.tv_sec * 100 + now.tv_nsec / 10000000;
  if (tick != looked_at) {
    char *flag = getenv("DVS_TEST_SET_BACK");
    back = flag && access(flag, F_OK) == 0 ? 3600 : 0;
    looked_at = tick;
  }
  return back;
}
int clock_gettime(clockid_t id, struct timespec *t) {
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int r = real(id, t);
  if (r == 0 && id == CLOCK_REALTIME) t->tv_sec -= back();
  return r;
}
/* Deadlines made from our clock are waited for on the kernel's: without this each wait would end at once. */
int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *deadline) {
  static int (*wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
  if (!wait) wait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
  if (!wait) wait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  struct timespec t = *deadline;
  if (t.tv_sec > 1000000000 && real) t.tv_sec += back();
  return wait(cond, mutex, &t);
}
time_t time(time_t *out) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  if (out) *out = t.tv_sec;
  return t.tv_sec;
}
int gettimeofday(struct timeval *tv, void *zone) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  tv->tv_sec = t.tv_sec;
  tv->tv_usec = t.tv_nsec / 1000;
  return 0;
}
`;

const dir = mkdtempSync(join(tmpdir(), "dvs-clock-"));
const flag = join(dir, "set-back");
const env = { LD_PRELOAD: join(dir, "clock.so"), DVS_TEST_SET_BACK: flag };
writeFileSync(join(dir, "clock.c"), source);
const built = spawnSync("cc", ["-shared", "-fPIC", "-o", env.LD_PRELOAD, join(dir, "clock.c"), "-ldl"]);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

if (built.status !== 0) {
  test.skip("clock set back (skipped: there is no C compiler)", () => {});
} else {
  const cluster = clusterForFile({ nodes: 2, coordinatorEnv: env, joinEnv: env });
  const events = async () => {
    const all: EventRecord[] = [];
    for await (const e of cluster().api.events()) all.push(e);
    return all;
  };

  test("nothing ends, nobody is called down, and the newest event is still the last", async () => {
    const hello = await createHello(cluster(), "hello", 2);
    writeFileSync(flag, "");
    await createHello(cluster(), "late", 1);
    const told = await events();
    expect(told.at(-1)).toMatchObject({ subject: "instance/late", reason: "Established" });
    expect(Date.parse(told[0]!.at) - Date.parse(told.at(-1)!.at)).toBeGreaterThan(50 * 60_000);
    expect(told.filter((e) => e.reason === "Down")).toEqual([]);
    const now = await cluster().api.instances.get("hello");
    expect(now.containers.map((c) => c.incarnation)).toEqual(hello.view.containers.map((c) => c.incarnation));
  });

  test("instances are made, killed containers and agents return, and machines join, an hour ago", async () => {
    const web = await createWeb(cluster(), "web", 2);
    const [victim] = web.view.containers;
    process.kill(victim!.pid, "SIGKILL");
    await cluster().until("it was started again", async () => {
      const view = await cluster().api.instances.get("web");
      return (
        view.phase === "running" && view.containers.some((c) => c.node === victim!.node && c.restarts === 1)
      );
    });
    const node = cluster().nodes[0]!;
    await node.kill();
    node.start(env);
    const { token } = await cluster().api.tokens.create({ kind: "join", ttlSeconds: 600 });
    cluster().newNode().join(token, [], env);
    await cluster().allUp();
    await cluster().phase("web", "running");
    for (const { address } of cluster().nodes) {
      await cluster().until("it serves", async () => (await get(address, web.port)).status === 200);
    }
  });

  test("a coordinator that is killed and started while the clock is back, and when it is right again, goes on", async () => {
    for (const setBack of [true, false]) {
      if (!setBack) rmSync(flag);
      cluster().killCoordinator();
      await cluster().coordinatorGone();
      await cluster().startCoordinator();
      await cluster().allUp();
      for (const name of ["hello", "late", "web"]) await cluster().phase(name, "running");
      const name = setBack ? "then" : "now";
      await cluster().api.instances.create(helloRequest(name, 3));
      await cluster().phase(name, "running");
    }
    expect((await events()).at(-1)).toMatchObject({ subject: "instance/now", reason: "Established" });
  });
}
