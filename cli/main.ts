#!/usr/bin/env bun
/** The entry point of the program `dvs`, and of every host process that it starts. */
import { secureEnvironment } from "../core/trust/environment.ts";
import { exit, processIo } from "./process-io.ts";
import { run } from "./run.ts";

secureEnvironment();
await exit(await run(process.argv.slice(2), processIo()));
