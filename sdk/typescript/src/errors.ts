import type { ErrorDetails } from "./types.ts";

/** What the server did not take: another attempt may fare better. */
const RETRYABLE: ReadonlySet<string> = new Set(["overloaded", "stopping", "rate_limited", "unreachable"]);
/** Characters of somebody else's words in a sentence of ours. */
const SHOWN = 120;

/** The codes that the daemon and this client use; a later daemon may know more. */
export type ErrorCode =
  | "invalid_request"
  | "unknown_model"
  | "context_length_exceeded"
  | "request_id_reused"
  | "unauthenticated"
  | "permission_denied"
  | "rate_limited"
  | "overloaded"
  | "stopping"
  | "cancelled"
  | "deadline_exceeded"
  | "no_consensus"
  | "all_providers_failed"
  | "all_providers_unavailable"
  | "unreachable"
  | (string & {});

/**
 * Why there is no answer: what the server said, or `unreachable` where no llm-pool answered.
 *
 * Where a caller's own signal ends a call, the signal's reason is thrown instead.
 */
export class LlmPoolError extends Error {
  override readonly name = "LlmPoolError";
  /** Stable, for programs. */
  readonly code: ErrorCode;
  /** The way out, where there is one; else empty. */
  readonly hint: string;
  /** Everything that the server said, `attempts` and `decision` of some codes among it. */
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: Partial<ErrorDetails> = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.hint = details.hint ?? "";
    this.details = { hint: null, ...details, code, message };
  }

  /** The field that is wrong, of an `invalid_request`. */
  get field(): string | undefined {
    return this.details.field;
  }

  /** When to try again, where the server says it. */
  get retryAfterMs(): number | undefined {
    return this.details.retry_after_ms;
  }

  /** Whether the server did not take what it was asked, so that another attempt may fare better. */
  get isRetryable(): boolean {
    return RETRYABLE.has(this.code);
  }
}

/** The error in a body of the daemon's; undefined where it has none. */
export function errorIn(body: unknown): LlmPoolError | undefined {
  const details = isObject(body) ? body["error"] : undefined;
  if (!isObject(details)) return undefined;
  const { code, message } = details;
  if (typeof code !== "string" || typeof message !== "string") return undefined;
  return new LlmPoolError(code, message, details);
}

/** Nobody answers at `url`. */
export function unreachable(url: string, reason: string, cause?: unknown): LlmPoolError {
  const hint = "llm-pool serve  starts a daemon";
  return new LlmPoolError("unreachable", `no answer from ${url}: ${reason}`, { hint }, { cause });
}

/** Something that is no llm-pool answered: a proxy in front of it, a captive portal, another program. */
export function foreign(url: string, response: Response, expected: string): LlmPoolError {
  const place = new URL(url).origin;
  if (response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400)) {
    const target = (response.headers.get("location") ?? "another address").slice(0, SHOWN);
    return new LlmPoolError("unreachable", `${place} redirects to ${target}`, { hint: "give the client that address" });
  }
  const kind = response.headers.get("content-type")?.split(";")[0]?.slice(0, SHOWN) || "no content type";
  const hint = "something else answers there, perhaps a proxy in front of llm-pool serve";
  return new LlmPoolError("unreachable", `${place} answered ${response.status} (${kind}) instead of ${expected}`, { hint });
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
