import type { Budget } from "./budget.ts";
import type { LlmPoolError } from "./errors.ts";

/** Milliseconds before the first retry at most; each further one waits up to twice as long. */
export const INITIAL_BACKOFF = 100;
/** Milliseconds: a server that asks for more is not waited for. */
export const MAX_WAIT = 5_000;

/**
 * Whether a query is sent again, and when: a rule without a clock. Times are milliseconds.
 *
 * Source: "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), full jitter.
 */
export class Retry {
  readonly #budget: Budget;
  readonly #deadline: number | undefined;
  #left: number;
  #backoff = INITIAL_BACKOFF;

  /**
   * @param retries further attempts at most
   * @param budget what they are paid from
   * @param deadline an instant; undefined: none
   */
  constructor(retries: number, budget: Budget, deadline?: number) {
    this.#left = retries;
    this.#budget = budget;
    this.#deadline = deadline;
  }

  /** How long to wait before the next attempt; undefined where none makes sense. `draw` is random, in [0, 1). */
  wait(error: LlmPoolError, now: number, draw: number): number | undefined {
    if (!error.isRetryable || this.#left <= 0) return undefined;
    const wait = Math.max(error.retryAfterMs ?? 0, draw * this.#backoff);
    if (wait > MAX_WAIT || (this.#deadline !== undefined && wait >= this.#deadline - now)) return undefined;
    if (!this.#budget.spend(now)) return undefined;
    this.#left -= 1;
    this.#backoff *= 2;
    return wait;
  }
}
