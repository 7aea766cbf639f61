/** What `dvs container` does, for tests: the host process of one container. */
import { DvsError } from "../../../core/errors.ts";
import { runContainer } from "../../../core/container/main.ts";
import { registry } from "../../../plugins/registry.ts";

try {
  const runDir = process.argv[process.argv.indexOf("--run-dir") + 1] ?? "";
  process.exit(await runContainer({ runDir, registry }));
} catch (e) {
  const error = DvsError.from(e);
  console.error(`${error.code}: ${error.message}`);
  process.exit(error.exit);
}
