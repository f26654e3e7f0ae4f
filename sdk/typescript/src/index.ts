/** A client of llm-pool: one question to several local language models, one answer. */
export { Budget } from "./budget.ts";
export { type CallOptions, type ClientOptions, LlmPool } from "./client.ts";
export { conversation, type Message } from "./conversation.ts";
export { bearer, type Credentials, hmacKey } from "./credentials.ts";
export { type ErrorCode, LlmPoolError } from "./errors.ts";
export { type Key, sign, type Unsigned } from "./hmac.ts";
export { textOf } from "./text.ts";
export type { Answer, Attempt, Decision, ErrorDetails, Health, Query, StreamEvent, Turn } from "./types.ts";
