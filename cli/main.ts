#!/usr/bin/env bun
/** The entry point of the program `dvs`. */
import { exit, processIo } from "./process-io.ts";
import { run } from "./run.ts";

await exit(await run(process.argv.slice(2), processIo()));
