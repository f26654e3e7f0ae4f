import type { Credentials } from "./credentials.ts";
import { deadlineExceeded, deadlineHeader, GRACE } from "./deadline.ts";
import { LlmPoolError, unreachable } from "./errors.ts";
import { Reply } from "./reply.ts";

export type Fetch = (input: string, init: RequestInit) => Promise<Response>;

/** Milliseconds that a timer can count. */
const MAX_TIMER = 2 ** 31 - 1;

export interface Sending {
  body?: unknown;
  /** The caller's. */
  signal?: AbortSignal;
  /** Milliseconds until the query's deadline. */
  remaining?: number;
  /** Milliseconds that a call without a deadline may take. */
  timeout?: number;
}

/** One server over HTTP. */
export class Transport {
  readonly url: string;
  readonly #prefix: string;
  readonly #credentials: Credentials | undefined;
  readonly #fetch: Fetch;

  constructor(url: string | URL, credentials?: Credentials, fetch?: Fetch) {
    const { origin, pathname } = addressOf(url);
    this.#prefix = pathname.replace(/\/+$/, "");
    this.url = origin + this.#prefix;
    this.#credentials = credentials;
    this.#fetch = fetch ?? ((input, init) => globalThis.fetch(input, init));
  }

  /** Sends a request; the reply has any status. Throws `unreachable`, `deadline_exceeded` or the signal's reason. */
  async send(method: string, path: string, { body, signal, remaining, timeout }: Sending): Promise<Reply> {
    signal?.throwIfAborted();
    const sent = body === undefined ? "" : JSON.stringify(body);
    const headers = {
      ...(sent && { "content-type": "application/json" }),
      ...(remaining !== undefined && { "x-deadline-ms": deadlineHeader(remaining) }),
    };
    const proof = await this.#credentials?.headers({ method, path: this.#prefix + path, query: "", headers, body: sent });
    const span = remaining === undefined ? timeout : remaining + GRACE;
    const timer = span === undefined ? undefined : AbortSignal.timeout(Math.min(Math.ceil(span), MAX_TIMER));
    const failure = (error: unknown): unknown => {
      if (signal?.aborted) return signal.reason;
      if (!timer?.aborted) return unreachable(this.url, reasonOf(error), error);
      return remaining === undefined ? unreachable(this.url, "it takes too long", error) : deadlineExceeded(remaining);
    };
    try {
      const response = await this.#fetch(this.url + path, {
        method,
        headers: { ...headers, ...proof },
        signal: AbortSignal.any([signal, timer].filter((one) => one !== undefined)),
        redirect: "manual",
        ...(sent && { body: sent }),
      });
      return new Reply(this.url, response, failure);
    } catch (error) {
      throw failure(error);
    }
  }
}

function addressOf(url: string | URL): URL {
  const address = URL.canParse(url) ? new URL(url) : undefined;
  if (address === undefined || !/^https?:$/.test(address.protocol) || address.username || address.password) {
    const message = `url: expected http(s)://host:port, got '${url}'`;
    throw new LlmPoolError("invalid_request", message, { field: "url" });
  }
  return address;
}

/** Why a `fetch` failed: Node tells it in the cause. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message || cause.name : String(cause);
}
