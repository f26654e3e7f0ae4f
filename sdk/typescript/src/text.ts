import { LlmPoolError } from "./errors.ts";
import type { StreamEvent } from "./types.ts";

/**
 * The answer's own text among `events`, piece by piece as it is written; in one piece where a panel had to decide first, or
 * where it was known already. Together the pieces are the answer's `content`.
 *
 * @throws LlmPoolError `all_providers_failed`: what was told is not how the answer begins
 */
export async function* textOf(events: AsyncIterable<StreamEvent>): AsyncGenerator<string, void, undefined> {
  let owner: string | undefined;
  let told = "";
  for await (const event of events) {
    if (event.type === "delta" && event.final && (owner ??= event.provider) === event.provider) {
      const piece = told ? event.text : event.text.trimStart(); // as answers that come in one piece
      told += piece;
      if (piece) yield piece;
    } else if (event.type === "answer" && !told) {
      if (event.content) yield event.content;
    } else if (event.type === "answer" && told.trimEnd() !== event.content) {
      throw new LlmPoolError("all_providers_failed", "the answer does not begin with what was told of it");
    }
  }
}
