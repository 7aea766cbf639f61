/** The few globals of Deno that dvs uses; no more than what is used. */
declare namespace Deno {
  const version: { deno: string };
  interface ServeAddress {
    port?: number;
    hostname?: string;
  }
  interface ServeServer {
    addr: ServeAddress;
    shutdown(): Promise<void>;
  }
  interface ServeOptions {
    hostname?: string;
    port?: number;
    path?: string;
    onListen: () => void;
    onError: (error: unknown) => Response;
  }
  function serve(
    options: ServeOptions,
    handler: (request: Request, info: { remoteAddr: ServeAddress }) => Response | Promise<Response>,
  ): ServeServer;
  /** What is called of the C library for `poll` of a device. */
  function dlopen(
    name: string,
    symbols: Record<"poll" | "fcntl", { parameters: readonly string[]; result: string }>,
  ): {
    symbols: {
      poll(fds: Uint8Array, count: bigint, ms: number): number;
      fcntl(fd: number, command: number, argument: number): number;
    };
  };
}
