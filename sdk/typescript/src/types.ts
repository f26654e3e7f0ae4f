import type { components } from "./openapi.ts";

type Schemas = components["schemas"];

/** A question to the pool; field by field as the daemon's OpenAPI document has it. Times are milliseconds. */
export type Query = Omit<Schemas["InferBody"], "stream">;
/** An answer, and how it came about. */
export type Answer = Schemas["AnswerBody"];
/** How an answer was chosen. */
export type Decision = Schemas["DecisionBody"];
/** One call to one provider. */
export type Attempt = Schemas["AttemptBody"];
/** What happens while a query is answered; the last one is the answer. */
export type StreamEvent = Schemas["StreamEvent"];
/** How a server's providers are; healthy when one of them can answer. */
export type Health = Schemas["HealthBody"];
/** One thing said earlier in a conversation. */
export type Turn = Schemas["TurnBody"];
/** What a server says of an error. Some codes have more: `attempts`, `decision`, `asked_ms`. */
export type ErrorDetails = Schemas["Error"] & Record<string, unknown>;
