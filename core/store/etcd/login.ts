/**
 * Name and password, where an etcd demands them: exchanged for a token that its members take for some minutes. A
 * member that does not take it any more says so before it does anything.
 */

export interface EtcdUser {
  name: string;
  password: string;
}

/** etcd's words for a token that is missing, unknown, too old, or from before a change of its users. */
const refusals = /invalid auth token|user name is empty|revision of auth store is old|revision in header/;

export class Login {
  readonly #user: EtcdUser;
  #token: Promise<string> | null = null;

  constructor(user: EtcdUser) {
    this.#user = user;
  }

  /** The header that carries the token; `authenticate` asks a member for one, once for all who wait. */
  async headers(authenticate: (user: EtcdUser) => Promise<string>): Promise<Record<string, string>> {
    const token = (this.#token ??= authenticate(this.#user));
    token.catch(() => {
      if (this.#token === token) this.#token = null;
    });
    return { authorization: await token };
  }

  /** True when the answer says that the token is worth nothing: the next request gets another. */
  refused(message: string): boolean {
    if (!refusals.test(message)) return false;
    this.#token = null;
    return true;
  }
}
