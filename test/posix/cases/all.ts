import type { Case } from "../calls.ts";
import { content } from "./content.ts";
import { links } from "./links.ts";
import { locks } from "./locks.ts";
import { names } from "./names.ts";
import { permissions } from "./permissions.ts";
import { rename } from "./rename.ts";

export const groups: Record<string, Case[]> = { names, links, rename, content, permissions, locks };
