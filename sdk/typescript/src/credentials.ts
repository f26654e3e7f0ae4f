import { randomId, sign, type Unsigned } from "./hmac.ts";

/** Proves requests; asked anew for each attempt. Write your own where a token has to be fetched first. */
export interface Credentials {
  /** The headers that prove `request`. */
  headers(request: Unsigned): Record<string, string> | Promise<Record<string, string>>;
}

/**
 * A key of `llm-pool keys create`, which signs each request; its secret never travels. Browsers sign on pages of
 * `https` and of this machine only.
 *
 * @param audience the server's `security.audience`
 */
export function hmacKey(key: string, secret: string, audience = "llm-pool"): Credentials {
  return { headers: (request) => sign({ key, secret, audience }, request, Date.now() / 1000, randomId()) };
}

/** A bearer key or a JSON Web Token, sent as it is. */
export function bearer(token: string): Credentials {
  return { headers: () => ({ authorization: `Bearer ${token}` }) };
}
