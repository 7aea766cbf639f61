/** What every VOS owes the container that runs it, whatever it is: run for each plugin. */
import { describe, expect, test } from "bun:test";
import { z } from "zod";
import type { ImageReader, Vos, VosHost, VosPlugin } from "../../core/vos.ts";

export interface VosSuite {
  load(): Promise<VosPlugin>;
  /** Options with which it boots, and what it then has as its image. */
  options: Record<string, unknown>;
  image: () => Promise<ImageReader | null>;
  /** Options that it must refuse. */
  refused: Record<string, unknown>[];
}

export function vosSuite(name: string, suite: VosSuite): void {
  const boot = async (options = suite.options): Promise<{ vos: Vos; logged: string[]; access: string[] }> => {
    const plugin = await suite.load();
    const logged: string[] = [];
    const access: string[] = [];
    const host: VosHost = {
      tenant: "default",
      instance: "test",
      uid: "u1",
      node: { id: "n1", name: "node-1" },
      incarnation: "i1",
      kernel: null,
      state: null,
      image: await suite.image(),
      log: (_level, message) => logged.push(message),
      accessLog: (line) => access.push(line),
    };
    return { vos: await plugin.boot(host, plugin.options.parse(options)), logged, access };
  };
  const get = async (vos: Vos, init: RequestInit & { path?: string } = {}): Promise<Response> =>
    vos.fetch(new Request(`http://site.test${init.path ?? "/"}`, init), { peer: "127.0.0.1" });

  describe(`VOS ${name}`, () => {
    test("it has the name and the summary that the registry gives", async () => {
      const { listPlugins } = await import("../../plugins/registry.ts");
      const plugin = await suite.load();
      expect(listPlugins()).toContainEqual({ name: plugin.name, summary: plugin.summary });
      expect(plugin.name).toBe(name);
    });

    test("every option is described and has a default or is required for a reason", async () => {
      const { options } = await suite.load();
      const schema = z.toJSONSchema(options, { io: "input", unrepresentable: "any" });
      const fields = Object.entries(schema.properties ?? {});
      expect(fields.length).toBeGreaterThan(0);
      const bare = fields.filter(([, field]) => typeof field !== "object" || !field.description);
      expect(bare.map(([field]) => field)).toEqual([]);
    });

    test("unknown options are refused by their name", async () => {
      const { options } = await suite.load();
      const parsed = options.safeParse({ ...suite.options, noSuchOption: 1 });
      expect(JSON.stringify(parsed.error?.issues)).toContain("noSuchOption");
    });

    for (const options of suite.refused) {
      test(`options ${JSON.stringify(options)} are refused`, async () => {
        expect((await suite.load()).options.safeParse({ ...suite.options, ...options }).success).toBe(false);
      });
    }

    test("it boots and answers GET and HEAD alike", async () => {
      const { vos } = await boot();
      const whole = await get(vos);
      expect(whole.status).toBe(200);
      expect((await whole.arrayBuffer()).byteLength).toBeGreaterThan(0);
      const head = await get(vos, { method: "HEAD" });
      expect(head.status).toBe(200);
      expect(head.headers.get("content-type")).toBe(whole.headers.get("content-type"));
    });

    test("a method that it does not know is answered with 405 and those that it knows", async () => {
      const { vos } = await boot();
      const answer = await get(vos, { method: "DELETE" });
      expect(answer.status).toBe(405);
      expect(answer.headers.get("allow")).toContain("GET");
    });

    test("two containers of it have nothing in common", async () => {
      const [one, two] = [await boot(), await boot()];
      await get(one.vos);
      expect(two.access).toEqual([]);
      expect((await get(two.vos)).status).toBe(200);
    });

    test("many requests at once are all answered", async () => {
      const { vos } = await boot();
      const answers = await Promise.all(Array.from({ length: 200 }, () => get(vos)));
      expect(answers.every((answer) => answer.status === 200)).toBe(true);
    });

    test("close, where it has one, resolves", async () => {
      const { vos } = await boot();
      await get(vos);
      await vos.close?.();
    });
  });
}
