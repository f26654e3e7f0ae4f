import { errorIn, foreign } from "./errors.ts";
import { type ServerEvent, serverEvents } from "./sse.ts";

const NO_ANSWER = "an error that llm-pool sends";

/** What a server replied, and how it is read. */
export class Reply {
  readonly #url: string;
  readonly #response: Response;
  readonly #failure: (error: unknown) => unknown;

  /** @param failure what to throw for what breaks while the body is read */
  constructor(url: string, response: Response, failure: (error: unknown) => unknown) {
    this.#url = url;
    this.#response = response;
    this.#failure = failure;
  }

  /** The JSON of the body, which is `expected` in words; throws the error that it tells of instead. */
  async read<T>(expected: string, isExpected: (body: unknown) => body is T, statuses = [200]): Promise<T> {
    const body = json(await this.#text());
    if (statuses.includes(this.#response.status) && isExpected(body)) return body;
    throw this.#error(body, expected);
  }

  /** The events of the body, where it is a stream of them; throws the error that it tells of instead. */
  async *events(): AsyncGenerator<ServerEvent, void, undefined> {
    const { status, headers, body } = this.#response;
    if (status !== 200 || !headers.get("content-type")?.startsWith("text/event-stream") || body === null) {
      throw this.#error(json(await this.#text()), "events");
    }
    try {
      yield* serverEvents(body);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** The error where this is not what was expected. */
  foreign(expected: string): Error {
    return foreign(this.#url, this.#response, expected);
  }

  #error(body: unknown, expected: string): Error {
    return this.#response.ok ? this.foreign(expected) : (errorIn(body) ?? this.foreign(NO_ANSWER));
  }

  async #text(): Promise<string> {
    try {
      return await this.#response.text();
    } catch (error) {
      throw this.#failure(error);
    }
  }
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
