/** What a container's kernel tells of itself: endpoints in pages, and traces. */
import { expect, test } from "bun:test";
import { KernelStreams } from "../../../core/container/kernel-streams.ts";
import { endpointLines } from "../../../core/coordinator/endpoint-lines.ts";
import { formatEndpoint, slotsMax } from "../../../core/kernel/endpoint.ts";
import type { ListedEndpoint } from "../../../core/kernel/endpoint-list.ts";
import type { KernelMachine } from "../../../core/kernel/kernel-machine.ts";
import { privilegeBits } from "../../../core/kernel/privileges.ts";
import { endpointsPerPage, tracedPerSecondMax } from "../../../core/limits.ts";
import { Lab } from "../kernel/lab.ts";

interface Line {
  message: string;
  local?: true;
  source: string;
  destination: string;
  type: number;
  leftOut?: number;
}

/** The streams of a kernel; what each has told, and whether it has ended. */
function streamsOf(machine: KernelMachine) {
  const told = new Map<string, { lines: string[]; ended: boolean }>();
  const of = (id: string) => {
    const stream = told.get(id) ?? { lines: [], ended: false };
    told.set(id, stream);
    return stream;
  };
  const streams = new KernelStreams((id, line) => {
    if (line === null) of(id).ended = true;
    else of(id).lines.push(line);
  });
  streams.attach(machine);
  const trace = (id: string, endpoint: number, max = 1_000) =>
    streams.start(id, { what: "trace", endpoint, max });
  const traced = (id: string) => of(id).lines.map((line) => JSON.parse(line) as Line);
  return { streams, of, trace, traced };
}

/** All pages, as the coordinator asks for them. */
async function listed(machine: KernelMachine): Promise<{ rows: ListedEndpoint[]; pages: number }> {
  const { streams, of } = streamsOf(machine);
  let pages = 0;
  const rows: ListedEndpoint[] = [];
  const ask = (query: Parameters<KernelStreams["start"]>[1]) => {
    const id = String(pages++);
    streams.start(id, query);
    expect(of(id).ended).toBe(true);
    return Promise.resolve(new Blob(of(id).lines.map((line) => `${line}\n`)).stream());
  };
  for await (const line of endpointLines(ask, new AbortController().signal)) {
    rows.push(JSON.parse(line) as ListedEndpoint);
  }
  return { rows, pages };
}

test("endpoints are listed as local, remote or backup, with what waits for them", async () => {
  const lab = new Lab(2);
  const [near, far] = [lab.kernels[0]!, lab.kernels[1]!];
  const [a, b] = [near.bind({ name: "a" }), far.bind({ name: "b" })];
  near.machine.bindBackup(b.endpoint, { privileges: privilegeBits() });
  const c = far.bind();
  near.send(a, c, "not taken");
  near.send(a, a, "not taken either");
  lab.settle();
  const { rows, pages } = await listed(near.machine);
  const about = (row: ListedEndpoint) => [row.id, row.kind, row.kernel, row.name, row.waiting] as const;
  expect(new Map(rows.map((row) => [row.endpoint, about(row)]))).toEqual(
    new Map([
      [formatEndpoint(a.endpoint), [a.endpoint, "local", near.id, "a", 1]],
      [formatEndpoint(b.endpoint), [b.endpoint, "backup", far.id, "b", 0]],
      [formatEndpoint(c.endpoint), [c.endpoint, "remote", far.id, null, 1]],
    ]),
  );
  expect(rows.map((row) => row.counters !== null)).toEqual(rows.map((row) => row.kind === "local"));
  expect(pages).toBe(1);
});

test("all of 65,536 endpoints are listed, each once, page by page", async () => {
  const lab = new Lab(1);
  const { machine } = lab.kernels[0]!;
  const privileges = privilegeBits();
  for (let i = 0; i < slotsMax; i++) machine.bind({ privileges });
  lab.settle();
  const { rows, pages } = await listed(machine);
  expect(new Set(rows.map((row) => row.id)).size).toBe(slotsMax);
  expect(rows.length).toBe(slotsMax);
  expect(pages).toBe(slotsMax / endpointsPerPage + 1);
});

test("a container that repeats itself is not asked for ever", async () => {
  const page = Array.from({ length: endpointsPerPage }, (_, i) => `${JSON.stringify({ id: 65_536 + i })}\n`);
  let asked = 0;
  const ask = () => {
    asked++;
    return Promise.resolve(new Blob(page).stream());
  };
  let lines = 0;
  for await (const line of endpointLines(ask, new AbortController().signal)) lines += line.length > 0 ? 1 : 0;
  expect([asked, lines]).toEqual([2, 2 * endpointsPerPage]);
});

test("a trace shows the messages of its endpoint within the kernel, without what they carry", () => {
  const kernel = new Lab(1).kernels[0]!;
  const [a, b, c] = [kernel.bind(), kernel.bind(), kernel.bind()];
  const { trace, traced, of } = streamsOf(kernel.machine);
  trace("t", b.endpoint);
  kernel.sendrec(a, b, "secret");
  kernel.reply(b, kernel.taken(b)!, "secret, too");
  kernel.send(b, c, "secret as well");
  kernel.machine.notify(c, b.endpoint);
  kernel.send(a, c, "of no interest");
  const [of1, of2, of3] = [a, b, c].map(({ endpoint }) => formatEndpoint(endpoint));
  expect(traced("t")).toMatchObject([
    { local: true, message: "request", source: of1, destination: of2, type: 1 },
    { local: true, message: "reply", source: of2, destination: of1, type: 2 },
    { local: true, message: "send", source: of2, destination: of3, type: 1 },
    { local: true, message: "notify", source: of3, destination: of2, type: 0 },
  ]);
  expect(of("t").lines.join("")).not.toContain("secret");
});

test("a kernel that nobody traces has nobody to tell", () => {
  const lab = new Lab(2);
  const { machine } = lab.kernels[0]!;
  const a = lab.kernels[0]!.bind();
  const { streams, trace } = streamsOf(machine);
  expect(machine.watchLocal).toBeNull();
  trace("t", a.endpoint);
  trace("u", a.endpoint, 1);
  expect(machine.watchLocal).not.toBeNull();
  streams.stop("t");
  // The other ends with its last message.
  lab.kernels[0]!.send(a, a);
  expect(machine.watchLocal).toBeNull();
  trace("v", a.endpoint);
  // The next kernel of the container is traced in the place of the first.
  streams.attach(lab.kernels[1]!.machine);
  expect([machine.watchLocal === null, lab.kernels[1]!.machine.watchLocal === null]).toEqual([true, false]);
});

test("a trace ends with its last message; of too many in one second the rest is counted", () => {
  const kernel = new Lab(1).kernels[0]!;
  const [a, b] = [kernel.bind(), kernel.bind()];
  const { trace, traced, of } = streamsOf(kernel.machine);
  trace("few", b.endpoint, 3);
  trace("many", b.endpoint);
  for (let i = 0; i < tracedPerSecondMax + 50; i++) kernel.send(a, b);
  expect([of("few").lines.length, of("few").ended]).toEqual([3, true]);
  // The second may have turned meanwhile: then it is told how many were left out.
  const lines = traced("many");
  expect(lines.length).toBeLessThanOrEqual(tracedPerSecondMax + 50);
  expect(lines.length).toBeGreaterThanOrEqual(tracedPerSecondMax);
  expect(of("many").ended).toBe(false);
});
