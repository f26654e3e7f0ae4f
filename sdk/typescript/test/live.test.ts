// Against real `llm-pool serve` processes.
import { describe, expect, inject, test } from "vitest";
import { bearer, Budget, conversation, hmacKey, LlmPool, LlmPoolError, type StreamEvent } from "../src/index.ts";

const daemons = inject("daemons");
const open = new LlmPool(daemons.open.http);
const SILENT = { prompt: "cats", task: "expand_queries", providers: ["silent"] };

async function failureOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => new Error("it did not fail"),
    (error: unknown) => error,
  );
}

describe("the calls", () => {
  test("a question gets its answer", async () => {
    const answer = await open.infer("Is 17 prime?");

    expect(answer.content).toContain("Is 17 prime?");
    expect(answer.winner).toBe("phi3");
    expect(answer.decision.attempts[0]?.outcome).toBe("ok");
  });

  test("a task gives JSON", async () => {
    const answer = await open.infer({ prompt: "lounge videos", task: "expand_queries", deadline_ms: 10_000 });

    expect(answer.json).toHaveProperty("must_include");
  });

  test("a stream tells events, and ends with the answer", async () => {
    const events: StreamEvent[] = [];
    for await (const event of open.stream({ prompt: "Tell me of the sea.", no_cache: true })) events.push(event);

    const last = events.at(-1);
    expect(events[0]?.type).toBe("start");
    expect(last?.type).toBe("answer");
    const text = events.map((event) => (event.type === "delta" && event.final ? event.text : "")).join("");
    expect(last).toHaveProperty("content", text);
  });

  test("a conversation is answered in its light", async () => {
    const messages = [
      { role: "user", content: "My name is Ada." },
      { role: "assistant", content: "Hello Ada." },
      { role: "user", content: "What is my name?" },
    ] as const;

    const answer = await open.chat(messages, { strategy: "VOTING", deadline_ms: 10_000 });

    expect(answer.content).toContain("What is my name?");
    expect(answer.strategy_used).toBe("VOTING");
    for await (const event of open.stream(conversation(messages))) {
      if (event.type === "answer") expect(event.content).toContain("What is my name?");
    }
  });

  test("feedback is taken for an answer of several models", async () => {
    const answer = await open.infer({ prompt: "Is 19 prime?", strategy: "VOTING", no_cache: true });

    expect(await open.feedback(answer.request_id, true)).toBeTypeOf("boolean");
    expect(await failureOf(open.feedback("nobody-asked-this", true))).toMatchObject({ code: "invalid_request" });
  });

  test("health", async () => {
    const health = await open.health();

    expect(health.healthy).toBe(true);
    expect(health.providers.map((provider) => provider.name)).toContain("gemma2");
  });
});

describe("errors", () => {
  test("a field that is wrong is named, with the way out", async () => {
    const error = await failureOf(open.infer({ prompt: "x", task: "expand_querys" }));

    expect(error).toBeInstanceOf(LlmPoolError);
    expect(error).toMatchObject({ code: "invalid_request", field: "task" });
    expect((error as LlmPoolError).hint).toContain("expand_queries");
  });

  test("a stream's too", async () => {
    expect(await failureOf(open.stream({ prompt: "x", task: "nope" }).next())).toMatchObject({ field: "task" });
  });

  test("nobody there", async () => {
    const error = await failureOf(new LlmPool("http://127.0.0.1:9", { retries: 0 }).infer("x"));

    expect(error).toMatchObject({ code: "unreachable" });
    expect((error as LlmPoolError).hint).toContain("llm-pool serve");
  });

  test.each(["ftp://x", "127.0.0.1:7071", "http://", "http://me:pw@host"])("%s is no address", (url) => {
    expect(() => new LlmPool(url)).toThrowError(/url/);
  });
});

describe("deadlines and signals", () => {
  test("the deadline reaches the server, which says who was asked", async () => {
    const error = await failureOf(open.infer({ ...SILENT, deadline_ms: 400 }));

    expect(error).toMatchObject({ code: "deadline_exceeded" });
    expect((error as LlmPoolError).details["attempts"]).toHaveLength(1);
  });

  test("a server that says nothing is left a second after it", async () => {
    const fetch = (_: string, init: RequestInit): Promise<Response> =>
      new Promise((_, reject) => init.signal?.addEventListener("abort", () => reject(init.signal?.reason)));
    const began = performance.now();

    const error = await failureOf(new LlmPool("http://127.0.0.1:9", { fetch }).infer({ prompt: "x", deadline_ms: 50 }));

    expect(error).toMatchObject({ code: "deadline_exceeded" });
    expect(performance.now() - began).toBeGreaterThan(1000);
    expect(performance.now() - began).toBeLessThan(3000);
  });

  test("a signal ends the call and the models' work", async () => {
    const stop = new AbortController();
    const call = open.infer({ ...SILENT, deadline_ms: 60_000 }, { signal: stop.signal });
    await inFlight(1);

    stop.abort(new Error("enough"));

    expect(await failureOf(call)).toHaveProperty("message", "enough");
    await inFlight(0);
  });

  test("leaving a stream ends the models' work", async () => {
    for await (const event of open.stream({ ...SILENT, deadline_ms: 60_000 })) {
      expect(event.type).toBe("start");
      await inFlight(1);
      break;
    }

    await inFlight(0);
  });

  test("a signal that has spoken sends nothing", async () => {
    expect(await failureOf(open.infer("x", { signal: AbortSignal.abort("no") }))).toBe("no");
  });

  async function inFlight(wanted: number): Promise<void> {
    await expect.poll(async () => (await open.health()).in_flight, { timeout: 10_000 }).toBe(wanted);
  }
});

describe("who we are", () => {
  const { http } = daemons.closed;

  test.each([
    ["a key that signs", hmacKey("acme", daemons.secret)],
    ["a bearer key", bearer(daemons.secret)],
    ["a token", bearer(daemons.jwt)],
  ])("%s comes in", async (_, credentials) => {
    const pool = new LlmPool(http, { credentials });

    expect((await pool.infer({ prompt: "hello", deadline_ms: 10_000 })).content).toContain("hello");
    expect((await pool.health()).healthy).toBe(true);
    for await (const event of pool.stream("hello again")) if (event.type === "answer") return;
    expect.unreachable();
  });

  test.each([
    ["the wrong secret", { credentials: hmacKey("acme", "x".repeat(40)) }],
    ["another audience", { credentials: hmacKey("acme", daemons.secret, "elsewhere") }],
    ["nonsense", { credentials: bearer("nonsense") }],
    ["nobody", {}],
  ])("%s does not", async (_, options) => {
    expect(await failureOf(new LlmPool(http, options).infer("hello"))).toMatchObject({ code: "unauthenticated" });
  });

  test("a rate that is spent is waited for, if the deadline allows it", async () => {
    const credentials = hmacKey("limited", daemons.limited);
    const pool = new LlmPool(http, { credentials, budget: new Budget(1, 9) });

    await pool.infer({ prompt: "one", deadline_ms: 10_000 });
    const again = await pool.infer({ prompt: "two", deadline_ms: 10_000 });
    const late = await failureOf(pool.infer({ prompt: "three", deadline_ms: 100 }));

    expect(again.content).toContain("two");
    expect(late).toMatchObject({ code: "rate_limited" });
  });
});
