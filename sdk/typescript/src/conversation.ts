import { LlmPoolError } from "./errors.ts";
import type { Query } from "./types.ts";

/** One message of a conversation, as OpenAI's clients write it. */
export interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}

/**
 * The last of `messages`, the user's, as a question, the others as what was said before it.
 *
 * @throws LlmPoolError `invalid_request`: the user asks nothing at their end
 */
export function conversation(messages: readonly Message[]): Pick<Query, "prompt" | "turns"> {
  const last = messages.at(-1);
  if (last?.role !== "user") {
    throw new LlmPoolError("invalid_request", "messages: the user asks nothing at their end", {
      field: "messages",
      hint: "end with a message of role user",
    });
  }
  return { prompt: last.content, turns: messages.slice(0, -1).map(({ role, content }) => ({ role, text: content })) };
}
