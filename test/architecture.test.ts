/** The rules of the tree's layout (ARCHITECTURE.md), and that their checkers catch who breaks them. */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { importsOf } from "./architecture/imports.ts";
import { layerMistakes, runtimeMistakes } from "./architecture/layers.ts";
import { impureImports, isMachine, machineMistakes } from "./architecture/machines.ts";

const root = dirname(import.meta.dir);
const files = ["core", "plugins", "configs", "cli", "bench", "test"].flatMap((folder) =>
  [...new Bun.Glob(`${folder}/**/*.ts`).scanSync({ cwd: root })].filter((path) => !path.endsWith(".d.ts")),
);
const read = (path: string) => (existsSync(join(root, path)) ? readFileSync(join(root, path), "utf8") : null);
const sources = files.map((path) => ({ path, source: read(path) ?? "" }));

describe("the tree", () => {
  test("each layer imports only itself and the layers below it, and nobody a plugin but the registry", () => {
    expect(sources.length).toBeGreaterThan(50);
    expect(sources.flatMap(({ path, source }) => layerMistakes(path, source))).toEqual([]);
  });

  test("only core/platform touches what one runtime has", () => {
    expect(sources.flatMap(({ path, source }) => runtimeMistakes(path, source))).toEqual([]);
  });

  test("machines read no clock, draw no lots, wait for nothing and touch nothing", () => {
    const machines = sources.filter(({ path }) => isMachine(path));
    expect(machines.length).toBeGreaterThan(10);
    expect(machines.flatMap(({ path, source }) => machineMistakes(path, source))).toEqual([]);
  });

  test("machines load nothing of the runtime, however indirectly", () => {
    const machines = files.filter(isMachine);
    expect(machines.flatMap((path) => impureImports(path, read))).toEqual([]);
  });
});

describe("the checker of layers", () => {
  const refused: [path: string, source: string][] = [
    ["core/a.ts", `import { x } from "../cli/x.ts";`],
    ["core/a/b.ts", `import type { X } from "../../configs/x.ts";`],
    ["core/a.ts", `export * from "../plugins/web/index.ts";`],
    ["core/a.ts", `const x = await import("../plugins/registry.ts");`],
    ["plugins/web/index.ts", `import "../../configs/x.ts";`],
    ["plugins/web/index.ts", `import { y } from "../hello/index.ts";`],
    ["configs/x.ts", `import { y } from "../cli/y.ts";`],
    ["configs/x.ts", `import web from "../plugins/web/index.ts";`],
    ["cli/x.ts", `const { default: web } = await import("../plugins/web/index.ts");`],
    ["cli/x.ts", `import x from "../../elsewhere/x.ts";`],
    ["core/a.ts", `import { serve } from "bun";`],
    ["cli/a.ts", `import { Database } from "bun:sqlite";`],
    ["core/a.ts", `import {\n  a, // from "./here"\n  type B,\n} from "../cli/x.ts";`],
  ];
  for (const [path, source] of refused) {
    test(`refuses in ${path}: ${source}`, () => expect(layerMistakes(path, source)).toHaveLength(1));
  }

  const accepted: [path: string, source: string][] = [
    ["core/a.ts", `import { z } from "zod"; import { b } from "./b.ts"; import fs from "node:fs";`],
    ["plugins/web/index.ts", `import { x } from "../../core/vos.ts"; import { y } from "./y.ts";`],
    ["plugins/registry.ts", `export const web = () => import("./web/index.ts");`],
    ["cli/x.ts", `const { registry } = await import("../plugins/registry.ts");`],
    ["test/plugins/web.test.ts", `import web from "../../plugins/web/index.ts";`],
    ["core/platform/bun/x.ts", `import type { Socket } from "bun";`],
    ["core/a.ts", `// import { x } from "../cli/x.ts";\nconst s = 'import "../cli/x.ts"';`],
    ["cli/x.ts", `import manifest from "../package.json";`],
  ];
  for (const [path, source] of accepted) {
    test(`accepts in ${path}: ${source}`, () => expect(layerMistakes(path, source)).toEqual([]));
  }

  test("finds a runtime's global in code, not in words about it", () => {
    expect(runtimeMistakes("core/a.ts", "Bun.serve({})")).toHaveLength(1);
    expect(runtimeMistakes("cli/a.ts", "const v = `${Deno.version}`;")).toHaveLength(1);
    expect(runtimeMistakes("core/a.ts", "/* Bun */ const s = 'Deno'; x.Bun();")).toEqual([]);
    expect(runtimeMistakes("core/platform/bun/a.ts", "Bun.serve({})")).toEqual([]);
  });
});

describe("the checker of machines", () => {
  const refused = [
    "const t = Date.now();",
    "const t = Date . now();",
    "const t = new Date();",
    "const t = +new Date;",
    "const t = Date();",
    "const { now } = Date;",
    "const t = performance.now();",
    "setTimeout(() => {}, 1);",
    "setInterval(f, 1);",
    "queueMicrotask(f);",
    "const r = Math.random();",
    "const { random } = Math;",
    "const id = crypto.randomUUID();",
    "if (process.env.X) f();",
    "const a = b ? process : c;",
    "await f();",
    "const s = `now ${Date.now()}`;",
    "const s = `a ${`b ${Math.random()}`}`;",
    "const r = /x/; const t = Date.now(); const q = /y/;",
    "const r = a / b; setTimeout(f, c / d);",
    "const o = { a: 1, process: 2 }; process.exit();",
    "globalThis.fetch('x');",
    "console.log(1);",
  ];
  for (const source of refused) {
    test(`refuses ${source}`, () =>
      expect(machineMistakes("core/control/x.ts", source).length).toBeGreaterThan(0));
  }

  const accepted = [
    "// Date.now() and Math.random()",
    "/** setTimeout, process.env */",
    "const s = 'Date.now()' + \"setTimeout\" + `process`;",
    "const r = /Date.now()/;",
    "const t = new Date(wallMs).toISOString();",
    "const t = Date.parse(text);",
    "const m = Math.max(1, 2);",
    "spec.process.crypto();",
    "const o = { process: 1, performance: 2 };",
    "function f(process: Host) { process.stop(); }",
    "for (const process of all) process.stop();",
    "interface X { readonly process: string; crypto?: number }",
    "function f(at: Date): void {}",
  ];
  for (const source of accepted) {
    test(`accepts ${source}`, () => expect(machineMistakes("core/control/x.ts", source)).toEqual([]));
  }

  test("knows which files are machines", () => {
    expect(isMachine("core/control/placement.ts")).toBe(true);
    expect(isMachine("core/ingress/health-machine.ts")).toBe(true);
    expect(isMachine("core/container/control.ts")).toBe(false);
  });

  test("follows imports to what they load in the end, types aside", () => {
    const tree: Record<string, string> = {
      "core/a-machine.ts": `import { b } from "./b.ts"; import type { X } from "./x.ts";`,
      "core/b.ts": `import { c } from "./c/c.ts";`,
      "core/c/c.ts": `import { readFileSync } from "node:fs"; import { b } from "../b.ts";`,
      "core/x.ts": `import net from "node:net";`,
    };
    const mistakes = impureImports("core/a-machine.ts", (path) => tree[path] ?? null);
    expect(mistakes).toEqual([
      "core/a-machine.ts imports node:fs by way of core/a-machine.ts → core/b.ts → core/c/c.ts",
    ]);
  });
});

test("imports are found in every form", () => {
  const source = `
    import a from "a"; import { b, type B } from "b"; import * as c from "c"; import "d";
    import type { E } from "e"; export { f } from "f"; export * from "g"; export type { H } from "h";
    const i = await import("i"); const j = import.meta.url; export const k = "from"; export function from() {}
    const l = { import: "l" }; type M = import("m").M;`;
  expect(importsOf(source).map((i) => i.specifier)).toEqual([
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "i",
    "m",
  ]);
  expect(
    importsOf(source)
      .filter((i) => i.typeOnly)
      .map((i) => i.specifier),
  ).toEqual(["e", "h"]);
});
