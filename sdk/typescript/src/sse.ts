/** Characters of one event at most: what a server sends is not kept without end. */
const MAX_EVENT = 64 << 20;
const LINE_END = /\r\n|\n|\r/;

/** One server-sent event: its name, `message` where it has none, and its data. */
export interface ServerEvent {
  name: string;
  data: string;
}

/**
 * Puts server-sent events together from pieces that were cut anywhere. An event is complete with the empty line after it.
 *
 * Source: WHATWG HTML, "Server-sent events", 9.2.6.
 */
export class SseDecoder {
  #line: string[] = [];
  #size = 0;
  #name = "";
  #data: string[] = [];
  #afterReturn = false;

  /** The events that `piece` completes; throws a RangeError where one grows without end. */
  feed(piece: string): ServerEvent[] {
    if (piece === "") return [];
    if (this.#afterReturn && piece.startsWith("\n")) piece = piece.slice(1); // the second half of a line end
    this.#afterReturn = piece.endsWith("\r");
    const lines = piece.split(LINE_END);
    const rest = lines.pop() ?? "";
    const events = lines.flatMap((line) => this.#take(line) ?? []);
    this.#hold(rest);
    return events;
  }

  /** A line is complete, `ending` is its end; the event, if it was the empty one. */
  #take(ending: string): ServerEvent | undefined {
    const line = this.#line.join("") + ending;
    this.#line = [];
    this.#size += ending.length;
    if (line === "") return this.#event();
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data.push(value);
    return undefined;
  }

  #event(): ServerEvent | undefined {
    const event = { name: this.#name || "message", data: this.#data.join("\n") };
    const hasData = this.#data.length > 0;
    [this.#name, this.#data, this.#size] = ["", [], 0];
    return hasData ? event : undefined;
  }

  #hold(rest: string): void {
    if (rest !== "") this.#line.push(rest);
    this.#size += rest.length;
    if (this.#size > MAX_EVENT) throw new RangeError("an event without end");
  }
}

/** The events of a body. Leaving the loop ends the request. */
export async function* serverEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent, void, undefined> {
  const reader = body.getReader();
  const utf8 = new TextDecoder();
  const decoder = new SseDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* decoder.feed(utf8.decode(value, { stream: true }));
    }
  } finally {
    await reader.cancel().catch(() => undefined); // of a stream that broke, too
  }
}
