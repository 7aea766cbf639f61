import { describe, expect, test } from "bun:test";
import { z } from "zod";
import { coordinatorKind } from "../../configs/coordinator.ts";
import { parseConfigDocument } from "../../configs/document.ts";
import { instanceKind } from "../../configs/instance.ts";
import { readConfig, type Sources } from "../../configs/kind.ts";
import { DvsError } from "../../core/errors.ts";
import type { VosPlugin, VosRegistry } from "../../core/vos.ts";

const web: VosPlugin = {
  name: "web",
  summary: "a plugin of the test",
  image: "required",
  options: z.object({
    spa: z.boolean().default(false),
    index: z.string().default("index.html"),
    headers: z.array(z.strictObject({ path: z.string(), ageMs: z.number().int().min(1) })).default([]),
    cache: z.enum(["none", "memory"]).optional(),
  }),
  boot: () => Promise.reject(new Error("not booted here")),
};
const bare: VosPlugin = { ...web, name: "bare", image: "none", options: z.strictObject({}) };
const plugins = { web, bare };
const registry: VosRegistry = {
  names: () => Object.keys(plugins),
  load: async (name) => (Object.hasOwn(plugins, name) ? plugins[name as keyof typeof plugins] : undefined),
};
const kind = instanceKind(registry);

const yaml = (text: string) => parseConfigDocument("web.yaml", text);
const flags = (value: Record<string, unknown>) => ({
  value,
  name: (path: readonly PropertyKey[]) => `--${path.join(".")}`,
});

async function mistakes(sources: Sources): Promise<string[]> {
  const error = await readConfig(kind, sources).then(
    () => new Error("it was accepted"),
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(DvsError);
  expect((error as DvsError).code).toBe("INVALID");
  return (error as DvsError).issues!.map((i) => `${i.path}: ${i.message}`);
}

describe("precedence", () => {
  const file = yaml("os: web\nsite: ./a\nnodes: 2\nname: from-file\noptions: {spa: true, index: a.html}");

  test("defaults < file < environment < flags", async () => {
    const env = { DVS_INSTANCE_NODES: "3", DVS_INSTANCE_NAME: "from-env" };
    expect(await readConfig(kind, { file: yaml("os: web\nsite: x") })).toMatchObject({
      nodes: 1,
      publish: [],
      on: {},
    });
    expect(await readConfig(kind, { file })).toMatchObject({ nodes: 2, name: "from-file" });
    expect(await readConfig(kind, { file, env })).toMatchObject({ nodes: 3, name: "from-env" });
    expect(await readConfig(kind, { file, env, flags: flags({ nodes: 4 }) })).toMatchObject({
      nodes: 4,
      name: "from-env",
    });
  });

  test("options are merged key by key, lists are replaced", async () => {
    const config = await readConfig(kind, {
      file: yaml("os: web\nsite: x\npublish: [80, 81]\noptions: {spa: true, index: a.html}"),
      env: { DVS_INSTANCE_PUBLISH: "90", DVS_INSTANCE_OPTIONS: "{index: b.html}" },
      flags: flags({ options: { cache: "memory" } }),
    });
    expect(config.options).toEqual({ spa: true, index: "b.html", cache: "memory" });
    expect(config.publish.map((p) => p.port)).toEqual([90]);
  });

  test("a site above takes the place of an image below, and the other way round", async () => {
    const withImage = yaml("os: web\nimage: docs");
    expect(await readConfig(kind, { file: withImage, flags: flags({ site: "./x" }) })).toMatchObject({
      site: "./x",
    });
    expect(await readConfig(kind, { file, flags: flags({ image: "docs" }) })).not.toHaveProperty("site");
  });

  test("a variable that names no field is refused with a suggestion; others' variables are left alone", async () => {
    expect(await mistakes({ file, env: { DVS_INSTANCE_NDOES: "3" } })).toEqual([
      "DVS_INSTANCE_NDOES: unknown variable: did you mean DVS_INSTANCE_NODES?",
    ]);
    await readConfig(kind, { file, env: { DVS_ADDR: "x", DVS_AGENT_NAME: "y", PATH: "/bin" } });
  });

  test("text in the environment stays text", async () => {
    expect(
      await readConfig(kind, {
        env: { DVS_INSTANCE_OS: "web", DVS_INSTANCE_SITE: "1", DVS_INSTANCE_NAME: "007" },
      }),
    ).toMatchObject({
      site: "1",
      name: "007",
    });
  });
});

describe("mistakes", () => {
  test("all are told at once, each where it stands", async () => {
    const file = yaml(`name: Web
os: web
site: x
node: 3
nodes: three
publish: [0, "80:locl-first", 90, 90]
options:
  spaa: true
  headers:
    - path: /x
      ageMs: 0
    - {pth: /y, ageMs: 1}
`);
    expect(
      (
        await mistakes({
          file,
          env: { DVS_INSTANCE_ON: "[]" },
          flags: flags({ options: { spa: "no", cache: "memry" } }),
        })
      ).toSorted(),
    ).toEqual(
      [
        'web.yaml:1 name: must be lower-case letters, digits and inner hyphens, as in `web-1`, not "Web"',
        'web.yaml:4 node: unknown key: did you mean "nodes"?',
        'web.yaml:5 nodes: must be a number, not "three"',
        "web.yaml:6 publish.0: must be at least 1, not 0",
        'web.yaml:6 publish.1: has no policy "locl-first": accepted local-first; did you mean "local-first"?; it is "80:locl-first"',
        "web.yaml:6 publish.3: port 90 is published twice",
        "DVS_INSTANCE_ON: must be a mapping, not []",
        'web.yaml:8 options.spaa: unknown key: did you mean "spa"?',
        "web.yaml:11 options.headers.0.ageMs: must be at least 1, not 0",
        "web.yaml:12 options.headers.1.path: is missing: must be a string",
        'web.yaml:12 options.headers.1.pth: unknown key: did you mean "path"?',
        '--options.spa: must be a boolean, not "no"',
        '--options.cache: is "memry": accepted none, memory; did you mean "memory"?',
      ].toSorted(),
    );
  });

  const cases: [name: string, text: string, ...expected: string[]][] = [
    [
      "an unknown VOS",
      "os: wbe\nsite: x",
      'web.yaml:1 os: no VOS is called "wbe": did you mean "web"? (known: web, bare)',
    ],
    ["no VOS", "nodes: 1", "web.yaml:1 os: is missing: must be a string"],
    [
      "a missing image",
      "os: web",
      'web.yaml:1 image: is missing: VOS "web" boots from an image; give site or image',
    ],
    ["an image too many", "os: bare\nimage: x", 'web.yaml:2 image: VOS "bare" has no image: leave it out'],
    [
      "site and image",
      "os: web\nsite: x\nimage: y",
      "web.yaml:3 image: cannot stand beside site: the site becomes the image",
    ],
    ["too many nodes", "os: bare\nnodes: 2000", "web.yaml:2 nodes: must be at most 1024, not 2000"],
    ["a list instead of a mapping", "- os: web", 'web.yaml:1: must be a mapping, not [{"os":"web"}]'],
    ["another kind", "kind: agent\nos: bare", 'web.yaml:1 kind: is "agent": accepted instance'],
  ];
  for (const [name, text, ...expected] of cases) {
    test(name, async () => expect(await mistakes({ file: yaml(text) })).toEqual(expected));
  }

  test("a mistake in a flag's value names the flag", async () => {
    const file = yaml("os: bare");
    expect(await mistakes({ file, flags: flags({ publish: ["x"] }) })).toEqual([
      '--publish.0: must be PORT or PORT:POLICY with a port from 1 to 65535; it is "x"',
    ]);
  });

  test("an empty file is one without values", async () => {
    expect(await mistakes({ file: yaml("") })).toEqual(["os: is missing: must be a string"]);
  });

  test("a coordinator's address is checked in the same way", async () => {
    const error = await readConfig(coordinatorKind, {
      file: yaml("dataDir: /x\nlisten: nowhere\nlisen: a:1"),
    }).catch((e: unknown) => e);
    expect((error as DvsError).message).toContain(
      'web.yaml:2 listen: must be HOST:PORT, as in 127.0.0.1:7400; it is "nowhere"',
    );
    expect((error as DvsError).message).toContain('web.yaml:3 lisen: unknown key: did you mean "listen"?');
  });
});

describe("documents", () => {
  test("syntax errors are told with their lines", () => {
    expect(() => yaml("os: web\nos: bare\n")).toThrow("web.yaml:2: Map keys must be unique");
    expect(() => yaml("a: [1\n")).toThrow("web.yaml:2");
    expect(() => yaml('{"os": "web",}}')).toThrow("web.yaml:1");
  });

  test("JSON is read, with lines too", async () => {
    expect(
      await mistakes({ file: parseConfigDocument("w.json", '{\n  "os": "bare",\n  "nodes": 0\n}') }),
    ).toEqual(["w.json:3 nodes: must be at least 1, not 0"]);
  });

  test("aliases that multiply are refused", () => {
    const bomb = ["a: &a [x,x,x,x,x,x,x,x,x]"];
    for (let i = 1; i < 9; i++) {
      const [name, below] = ["abcdefghi"[i]!, "abcdefghi"[i - 1]!];
      bomb.push(`${name}: &${name} [${Array.from({ length: 9 }, () => `*${below}`).join(",")}]`);
    }
    expect(() => yaml(bomb.join("\n"))).toThrow("Invalid configuration file web.yaml");
  });

  test("a file of more than a megabyte is refused", () => {
    expect(() => yaml(`# ${"x".repeat(1_100_000)}`)).toThrow("at most 1048576");
  });
});
