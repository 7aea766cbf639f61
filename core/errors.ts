/**
 * Every error that somebody can meet, in one table: whose fault it is, whether trying again may help, the HTTP
 * status that carries it and the exit code of the command that ends with it.
 *
 * A message names the operation, the value and the limit, and says what to do:
 * `Cannot publish port 8080 of instance "shop": instance "web" has it already. Choose another --publish.`
 * What nobody should meet is an assert, not a DvsError.
 */

interface ErrorKind {
  /** Who has to change something. */
  fault: "caller" | "system" | "environment";
  /** True when the same request may succeed later, unchanged. */
  retry: boolean;
  status: number;
  exit: number;
}

export const ERRORS = {
  /** Unknown flag, bad value, invalid configuration. `issues` lists every mistake found, each with its path. */
  INVALID: { fault: "caller", retry: false, status: 400, exit: 2 },
  NOT_FOUND: { fault: "caller", retry: false, status: 404, exit: 3 },
  /** The name or port is taken, or the record changed under the caller. */
  CONFLICT: { fault: "caller", retry: false, status: 409, exit: 4 },
  UNAUTHENTICATED: { fault: "caller", retry: false, status: 401, exit: 5 },
  FORBIDDEN: { fault: "caller", retry: false, status: 403, exit: 5 },
  /** No coordinator, store or node answers. */
  UNAVAILABLE: { fault: "environment", retry: true, status: 503, exit: 6 },
  /** The wait ended first; the operation goes on. */
  TIMEOUT: { fault: "environment", retry: true, status: 504, exit: 7 },
  /** The cluster refused or rolled back the operation: a port in use on a node, a VOS that does not start. */
  FAILED: { fault: "environment", retry: false, status: 422, exit: 8 },
  /** A disk, quota or limit is full. */
  EXHAUSTED: { fault: "environment", retry: true, status: 507, exit: 9 },
  TOO_LARGE: { fault: "caller", retry: false, status: 413, exit: 2 },
  /** The request was sent and its answer lost: it may or may not have been carried out. */
  OUTCOME_UNKNOWN: { fault: "environment", retry: false, status: 502, exit: 10 },
  /** A defect of dvs. */
  INTERNAL: { fault: "system", retry: false, status: 500, exit: 1 },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** One mistake in somebody's input: where (`nodes`, `options.headers.0.path`), and what is wrong with it. */
export interface Issue {
  path: string;
  message: string;
}

/** The shape of an error on the wire and in `-o json`. */
export interface ErrorBody {
  error: { code: ErrorCode; message: string; issues?: Issue[]; cause?: string };
}

export class DvsError extends Error {
  readonly code: ErrorCode;
  readonly issues: Issue[] | undefined;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; issues?: Issue[] } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "DvsError";
    this.code = code;
    this.issues = options.issues;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }
  get exit(): number {
    return ERRORS[this.code].exit;
  }
  get retry(): boolean {
    return ERRORS[this.code].retry;
  }

  toBody(): ErrorBody {
    const cause = this.cause instanceof Error ? this.cause.message : undefined;
    return {
      error: {
        code: this.code,
        message: this.message,
        ...(this.issues ? { issues: this.issues } : {}),
        ...(cause ? { cause } : {}),
      },
    };
  }

  /** The error that a peer sent, as the same error here. Anything unreadable becomes INTERNAL. */
  static fromBody(body: unknown): DvsError {
    const e = (body as ErrorBody | null)?.error;
    if (!e || typeof e.message !== "string" || !(e.code in ERRORS)) {
      return new DvsError(
        "INTERNAL",
        `unreadable error from the peer: ${JSON.stringify(body)?.slice(0, 200)}`,
      );
    }
    return new DvsError(e.code, e.message, {
      ...(e.issues ? { issues: e.issues } : {}),
      ...(e.cause ? { cause: new Error(e.cause) } : {}),
    });
  }

  /** Whatever was thrown, as a DvsError. */
  static from(thrown: unknown): DvsError {
    if (thrown instanceof DvsError) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new DvsError("INTERNAL", message, { cause: thrown });
  }
}

/** The mistakes of a failed zod parse, one line each. */
export function issuesOf(error: { issues: readonly { path: PropertyKey[]; message: string }[] }): Issue[] {
  return error.issues.map((i) => ({ path: i.path.map(String).join("."), message: i.message }));
}

/** Throws INVALID with every mistake at once; `what` names the input: `configuration file web.yaml`. */
export function parseOrThrow<T>(
  schema: {
    safeParse(
      v: unknown,
    ):
      | { success: true; data: T }
      | { success: false; error: { issues: readonly { path: PropertyKey[]; message: string }[] } };
  },
  value: unknown,
  what: string,
): T {
  const r = schema.safeParse(value);
  if (r.success) return r.data;
  const issues = issuesOf(r.error);
  const lines = issues.map((i) => `  ${i.path || "(root)"}: ${i.message}`);
  throw new DvsError("INVALID", `Invalid ${what}:\n${lines.join("\n")}`, { issues });
}
