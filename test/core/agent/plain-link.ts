/** A link to the fake coordinator: plain HTTP, no identity. */
import { DvsError } from "../../../core/errors.ts";
import type { ReplicaSet } from "../../../core/state/replica-set.ts";
import type { ChangeAnswer, HeartbeatAnswer, StateGone, ToAgent } from "../../../core/agent-protocol.ts";
import type { CoordinatorLink } from "../../../core/agent/coordinator-link.ts";

export function plainLink(address: string): CoordinatorLink {
  async function request(path: string, init: RequestInit): Promise<Response> {
    const response = await fetch(`http://${address}${path}`, init).catch((e: unknown) => {
      throw new DvsError("UNAVAILABLE", `no answer from ${address}`, { cause: e });
    });
    if (!response.ok) throw new DvsError("UNAVAILABLE", `${path}: status ${response.status}`);
    return response;
  }
  const post = (path: string, body: unknown, signal: AbortSignal) =>
    request(path, { method: "POST", body: JSON.stringify(body), signal });

  return {
    async *messages(signal) {
      const response = await request("/agent/v1/desired", { signal });
      let rest = "";
      for await (const bytes of response.body!.pipeThrough(new TextDecoderStream())) {
        const lines = (rest + bytes).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) yield JSON.parse(line) as ToAgent;
      }
    },
    heartbeat: async (heartbeat, signal) =>
      (await (await post("/agent/v1/heartbeat", heartbeat, signal)).json()) as HeartbeatAnswer,
    renewNodeCertificate: async (csr, signal) => {
      const response = await post("/agent/v1/certificate", { csr }, signal);
      return ((await response.json()) as { certificate: string }).certificate;
    },
    containerCertificate: async (uid, csr, signal) => {
      const response = await post(`/agent/v1/instances/${uid}/certificate`, { csr }, signal);
      return (await response.json()) as { certificate: string; authority: string };
    },
    proposeRecord: async (uid, proposal, signal) => {
      const response = await post(`/agent/v1/instances/${uid}/records`, proposal, signal);
      return ((await response.json()) as { index: number }).index;
    },
    followRecords: async (uid, follow, signal) => {
      await post(`/agent/v1/instances/${uid}/follow`, follow, signal);
    },
    containerExited: async (uid, incarnation, signal) => {
      await post(`/agent/v1/instances/${uid}/exits`, { incarnation }, signal);
    },
    state: {
      read: async (of, signal) =>
        (await (await post(`/agent/v1/instances/${of.uid}/state`, of, signal)).json()) as ReplicaSet,
      register: async (of, signal) => {
        await post(`/agent/v1/instances/${of.uid}/state/replica`, of, signal);
      },
      change: async (of, signal) =>
        (await (await post(`/agent/v1/instances/${of.uid}/state/change`, of, signal)).json()) as ChangeAnswer,
      gone: async (of, signal) => {
        const answer = await post(`/agent/v1/instances/${of.uid}/state/gone`, of, signal);
        return ((await answer.json()) as StateGone).gone;
      },
      exit: async (of, signal) => {
        await post(`/agent/v1/instances/${of.uid}/state/exit`, of, signal);
      },
    },
    images: {
      manifest: () => Promise.reject(new DvsError("UNAVAILABLE", "not in this test")),
      fetch: () => Promise.reject(new DvsError("UNAVAILABLE", "not in this test")),
    },
    async sendStream(id, body, signal) {
      const text = await new Response(body).text();
      await request(`/agent/v1/streams/${id}`, { method: "POST", body: text, signal });
    },
    fetchStream: async (id, signal) => (await request(`/agent/v1/streams/${id}`, { signal })).body!,
    address: () => address,
    rotate() {},
    setAddresses() {},
    close() {},
  };
}
