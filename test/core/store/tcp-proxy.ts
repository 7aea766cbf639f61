/** A TCP proxy between a store and its etcd that loses what it is told to lose. */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

export interface TcpProxy {
  /** `127.0.0.1:port` */
  readonly address: string;
  /** Where connections made from now on lead. */
  target: string;
  /** So many answers are lost: the request is forwarded, and the connection cut in place of the answer's first byte. */
  drop: number;
  /** While true nothing goes through either way, and nothing is closed: a hung machine. */
  hang: boolean;
  /** Connections that are open now hang for ever; new ones do not. */
  hangOpen(): void;
  /** Cuts every open connection. */
  cut(): void;
  close(): Promise<void>;
}

export async function startProxy(target: string): Promise<TcpProxy> {
  const pairs = new Set<{ client: Socket; upstream: Socket; hung: boolean }>();
  const server = createServer((client) => {
    const [host, port] = proxy.target.split(":") as [string, string];
    const upstream = connect(Number(port), host);
    const pair = { client, upstream, hung: false };
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      socket.on("error", end);
      socket.on("close", () => {
        // A hung machine does not tell that its peer has gone.
        if (!proxy.hang && !pair.hung) end();
      });
    }
    client.on("data", (data) => {
      if (!proxy.hang && !pair.hung) upstream.write(data);
    });
    upstream.on("data", (data) => {
      if (proxy.hang || pair.hung) return;
      if (proxy.drop > 0) {
        proxy.drop -= 1;
        end();
      } else client.write(data);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => {
    for (const { client, upstream } of pairs) {
      client.destroy();
      upstream.destroy();
    }
    pairs.clear();
  };
  const proxy: TcpProxy = {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    target,
    drop: 0,
    hang: false,
    hangOpen() {
      for (const pair of pairs) pair.hung = true;
    },
    cut,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      cut();
      await closed;
    },
  };
  return proxy;
}
