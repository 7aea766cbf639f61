// npm may refuse to run the install script of the package `bun`; its binary is there all the same, in an optional
// package of its own, and this puts it in place. Harmless where it is done already or where only Bun is at hand.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
const script = new URL("../../node_modules/bun/install.js", import.meta.url).pathname;
if (existsSync(script)) spawnSync(process.execPath, [script], { stdio: "ignore" });
