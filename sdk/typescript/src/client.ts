import { Budget } from "./budget.ts";
import { conversation, type Message } from "./conversation.ts";
import type { Credentials } from "./credentials.ts";
import { remainingOf } from "./deadline.ts";
import { errorIn, isObject, LlmPoolError, unreachable } from "./errors.ts";
import { randomId } from "./hmac.ts";
import { Retry } from "./retry.ts";
import { type Fetch, Transport } from "./transport.ts";
import type { Answer, Health, Query, StreamEvent } from "./types.ts";

/** Milliseconds that a server has to say how it is. */
const HEALTH_TIMEOUT = 5_000;
/** What all clients of a process, or of a page, may spend on retries. */
const SHARED_BUDGET = new Budget();
/** The events that this version knows; those of a later one are passed over. */
const EVENTS: ReadonlySet<string> = new Set<StreamEvent["type"]>([
  "start",
  "waiting",
  "loading",
  "reasoning",
  "delta",
  "tool_call",
  "candidate",
  "attempt",
  "answer",
]);

export interface ClientOptions {
  /** Who we are; left out where the server does not ask. */
  credentials?: Credentials;
  /** Further attempts at most; 2 unless given. */
  retries?: number;
  /** What retries are paid from; unless given, all clients share one. */
  budget?: Budget;
  /** Another `fetch`, with a proxy or certificates of its own. */
  fetch?: Fetch;
}

export interface CallOptions {
  /** Ends the call, and with it the models' work; its reason is what the call throws. */
  signal?: AbortSignal;
}

/**
 * A client of an llm-pool daemon.
 *
 * What the server did not take (overloaded, stopping, over a rate, out of reach) is sent again within the query's
 * deadline and the budget. Every query has a `request_id`, so one that was taken after all is not asked twice.
 */
export class LlmPool {
  readonly #transport: Transport;
  readonly #retries: number;
  readonly #budget: Budget;

  /**
   * @param url `http://host:port` or `https://host:port`, perhaps with a path before ours
   * @throws LlmPoolError `invalid_request`: the address has another shape
   */
  constructor(url: string | URL, options: ClientOptions = {}) {
    this.#transport = new Transport(url, options.credentials, options.fetch);
    this.#retries = options.retries ?? 2;
    this.#budget = options.budget ?? SHARED_BUDGET;
  }

  /**
   * The answer to `query`, a text or everything that a query may say.
   *
   * @throws LlmPoolError what the server said; `unreachable` where it did not answer
   */
  async infer(query: Query | string, options: CallOptions = {}): Promise<Answer> {
    const attempts = this.#attempts(query, options);
    for (;;) {
      try {
        const reply = await this.#transport.send("POST", "/v1/infer", { ...attempts.left(), body: attempts.query });
        return await reply.read("an answer", isAnswer);
      } catch (error) {
        await attempts.backOff(error);
      }
    }
  }

  /**
   * What happens while `query` is answered; the last event is the answer. Leaving the loop ends the models' work.
   *
   * Nothing is sent again once something was heard. Errors are those of `infer`.
   */
  async *stream(query: Query | string, options: CallOptions = {}): AsyncGenerator<StreamEvent, void, undefined> {
    const attempts = this.#attempts(query, options);
    for (;;) {
      let hasBegun = false;
      try {
        for await (const event of this.#events(attempts)) {
          hasBegun = true;
          yield event;
        }
        return;
      } catch (error) {
        if (hasBegun) throw error;
        await attempts.backOff(error);
      }
    }
  }

  /** The answer to the last of `messages`, the user's, in the light of the others; the rest as `infer`. */
  async chat(
    messages: readonly Message[],
    query: Omit<Query, "prompt" | "turns"> = {},
    options: CallOptions = {},
  ): Promise<Answer> {
    return this.infer({ ...query, ...conversation(messages) }, options);
  }

  /**
   * Says how good the answer to `requestId` was.
   *
   * @returns whether somebody gains or loses trust by it; where all models agreed, nobody does over the others
   * @throws LlmPoolError `invalid_request`: no answer of several models is kept under that id
   */
  async feedback(requestId: string, good: boolean, options: CallOptions = {}): Promise<boolean> {
    const body = { request_id: requestId, good };
    const reply = await this.#transport.send("POST", "/v1/feedback", { ...options, body });
    return (await reply.read("what was learned", isLearned)).learned;
  }

  /** How the server's providers are; a server without a healthy one says so, and that is no error. */
  async health(options: CallOptions = {}): Promise<Health> {
    const reply = await this.#transport.send("GET", "/health", { ...options, timeout: HEALTH_TIMEOUT });
    return reply.read("its health", isHealth, [200, 503]);
  }

  #attempts(query: Query | string, { signal }: CallOptions): Attempts {
    const asked = typeof query === "string" ? { prompt: query } : query;
    this.#budget.noteRequest(performance.now());
    return new Attempts({ ...asked, request_id: asked.request_id || randomId() }, this.#retries, this.#budget, signal);
  }

  async *#events(attempts: Attempts): AsyncGenerator<StreamEvent, void, undefined> {
    const body = { ...attempts.query, stream: true };
    const reply = await this.#transport.send("POST", "/v1/infer", { ...attempts.left(), body });
    let last = "";
    for await (const { name, data } of reply.events()) {
      const event = parsed(name, data);
      if (event instanceof LlmPoolError) throw event;
      if (event === undefined) throw reply.foreign("an event");
      last = event.type;
      if (EVENTS.has(last)) yield event;
    }
    if (last !== "answer") throw unreachable(this.#transport.url, "it closed the connection in the middle of an answer");
  }
}

/** One query's attempts, on the clock of this machine. */
class Attempts {
  readonly query: Query;
  readonly #signal: AbortSignal | undefined;
  readonly #deadline: number | undefined;
  readonly #retry: Retry;

  constructor(query: Query, retries: number, budget: Budget, signal: AbortSignal | undefined) {
    this.query = query;
    this.#signal = signal;
    this.#deadline = query.deadline_ms ? performance.now() + query.deadline_ms : undefined;
    this.#retry = new Retry(retries, budget, this.#deadline);
  }

  /** What an attempt is given; throws `deadline_exceeded` where nothing is left. */
  left(): { signal?: AbortSignal; remaining?: number } {
    const signal = this.#signal && { signal: this.#signal };
    if (this.#deadline === undefined) return { ...signal };
    return { ...signal, remaining: remainingOf(this.#deadline, this.query.deadline_ms ?? 0, performance.now()) };
  }

  /** Waits until another attempt makes sense; throws `error` where none does. */
  async backOff(error: unknown): Promise<void> {
    if (!(error instanceof LlmPoolError)) throw error;
    const wait = this.#retry.wait(error, performance.now(), Math.random());
    if (wait === undefined) throw error;
    await sleep(wait, this.#signal);
  }
}

/** The event, or the error that it tells of; undefined where it is no event of ours. */
function parsed(name: string, data: string): StreamEvent | LlmPoolError | undefined {
  let body: unknown;
  try {
    body = JSON.parse(data);
  } catch {
    return undefined;
  }
  if (name === "error") return errorIn(body);
  if (!isObject(body) || (name === "answer" && !isAnswer(body))) return undefined;
  return { type: name, ...body } as StreamEvent;
}

function isAnswer(body: unknown): body is Answer {
  return isObject(body) && typeof body["content"] === "string" && isObject(body["decision"]);
}

function isLearned(body: unknown): body is { learned: boolean } {
  return isObject(body) && typeof body["learned"] === "boolean";
}

function isHealth(body: unknown): body is Health {
  return isObject(body) && typeof body["healthy"] === "boolean";
}

/** Waits; throws the reason of `signal` as soon as that says so. */
async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
