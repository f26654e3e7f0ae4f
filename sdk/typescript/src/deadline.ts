import { LlmPoolError } from "./errors.ts";

/** Milliseconds beyond its deadline that a server gets to say that it passed. */
export const GRACE = 1_000;
/** What the header can say at most, as a signature covers nine digits; the body has the query's own deadline. */
const MAX_HEADER = 999_999_999;

/** The value of `X-Deadline-Ms` where `remaining` milliseconds are left: whole ones, at least one. */
export function deadlineHeader(remaining: number): string {
  return String(Math.min(Math.max(1, Math.floor(remaining)), MAX_HEADER));
}

/** What is left until `deadline`, an instant; throws where nothing is. */
export function remainingOf(deadline: number, asked: number, now: number): number {
  const remaining = deadline - now;
  if (remaining <= 0) throw deadlineExceeded(asked);
  return remaining;
}

export function deadlineExceeded(asked: number): LlmPoolError {
  return new LlmPoolError("deadline_exceeded", `no answer within ${Math.round(asked)} ms`);
}
