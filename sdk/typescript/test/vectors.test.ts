// The vectors that every SDK passes: sdk/vectors, made by the Python client.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Budget } from "../src/budget.ts";
import { deadlineHeader, GRACE, remainingOf } from "../src/deadline.ts";
import { canonical, sign } from "../src/hmac.ts";
import { bearer, LlmPool, LlmPoolError, type Message, type Query, type StreamEvent, textOf } from "../src/index.ts";
import { INITIAL_BACKOFF, MAX_WAIT, Retry } from "../src/retry.ts";
import { type Asked, replaying, type Told } from "./replay.ts";

/** JSON of many shapes. */
type Vector = any;

const UTF8 = new TextEncoder();

function vectors(name: string): Vector {
  return JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), "utf8"));
}

function named(name: string): [string, Vector][] {
  return pairs(vectors(name));
}

function pairs(found: Vector[]): [string, Vector][] {
  return found.map((vector) => [vector.name, vector]);
}

async function codeOf(call: Promise<unknown>): Promise<string> {
  return (await failureOf(call)).code;
}

async function failureOf(call: Promise<unknown>): Promise<LlmPoolError> {
  const error = await call.then(
    () => new Error("it did not fail"),
    (reason: unknown) => reason,
  );
  if (error instanceof LlmPoolError) return error;
  throw error;
}

function compare(asked: Asked[], wanted: Vector): void {
  expect(asked).toHaveLength(1);
  const { method, path, headers, body } = asked[0] as Asked;
  expect({ method, path, body: body ? JSON.parse(body) : null }).toEqual({
    method: wanted.method,
    path: wanted.path,
    body: wanted.body,
  });
  const { "x-deadline-ms": deadline, ...same } = wanted.headers ?? {};
  expect(headers).toMatchObject(same);
  if (deadline !== undefined) {
    const late = Number(deadline) - Number(headers["x-deadline-ms"]); // what is left is a little less by now
    expect(late).toBeGreaterThanOrEqual(0);
    expect(late).toBeLessThan(1000);
  }
}

describe("signatures", () => {
  test.each(named("signatures"))("%s", async (_, vector) => {
    const { method, path, query, headers, body, wall, nonce } = vector;
    const request = { method, path, query, headers, body };

    if (vector.refused) {
      await expect(sign(vector, request, wall, nonce)).rejects.toThrow("cannot be signed");
      return;
    }
    const added = await sign(vector, request, wall, nonce);

    expect(added).toEqual(vector.added);
    expect(await canonical(vector.audience, { ...request, headers: { ...headers, ...added } })).toBe(vector.canonical);
  });
});

describe("requests", () => {
  test.each(named("requests"))("%s", async (_, vector) => {
    if (vector.refused) {
      const refused = await failureOf(new LlmPool("http://127.0.0.1:9").chat(vector.messages));
      expect([refused.code, refused.field]).toEqual(["invalid_request", vector.refused]);
      return;
    }
    const told = vector.response;
    await replaying(told, [UTF8.encode(told.body)], async (url, asked) => {
      const credentials = vector.token ? { credentials: bearer(vector.token) } : {};
      const pool = new LlmPool(url + (vector.url ?? ""), { retries: 0, ...credentials });

      expect(await called(pool, vector)).toEqual(JSON.parse(told.body));

      compare(asked, vector.request);
    });
  });

  function called(pool: LlmPool, vector: Vector): Promise<unknown> {
    if (vector.call === "infer") return pool.infer(vector.query as Query);
    if (vector.call === "chat") return pool.chat(vector.messages as Message[], vector.query);
    return pool.health();
  }

  test("a query without an id gets one", async () => {
    await replaying({ status: 200, headers: {} }, [UTF8.encode("{}")], async (url, asked) => {
      await codeOf(new LlmPool(url, { retries: 0 }).infer("hello"));
      expect(JSON.parse(asked[0]?.body ?? "").request_id).toMatch(/^[\w-]{32}$/);
    });
  });
});

describe("errors", () => {
  test.each(named("errors"))("%s", async (_, vector) => {
    const told = vector.response;
    const wanted = vector.error;
    await replaying(told, [UTF8.encode(told.body)], async (url) => {
      const error = await failureOf(new LlmPool(url, { retries: 0 }).infer("hello"));

      expect([error.code, error.isRetryable]).toEqual([wanted.code, wanted.retryable]);
      for (const word of wanted.mentions ?? []) expect(error.message).toContain(word);
      if (wanted.message === undefined) return;
      expect([error.message, error.hint]).toEqual([wanted.message, wanted.hint]);
      expect([error.field ?? null, error.retryAfterMs ?? null]).toEqual([wanted.field, wanted.retry_after_ms]);
      expect(error.details).toEqual(JSON.parse(told.body).error);
    });
  });
});

describe("streams", () => {
  test.each(named("streams"))("%s", async (_, vector) => {
    const sent = UTF8.encode(vector.sent);
    const cuts: number[] = vector.piece
      ? Array.from({ length: Math.ceil(sent.length / vector.piece) - 1 }, (_, at) => (at + 1) * vector.piece)
      : vector.cuts;
    const pieces = [0, ...cuts].map((begin, at) => sent.subarray(begin, cuts[at] ?? sent.length));
    const told: Told = { status: 200, headers: { "content-type": "text/event-stream" } };
    await replaying(told, pieces, async (url) => {
      const events: StreamEvent[] = [];
      let end = "nothing";
      try {
        for await (const event of new LlmPool(url, { retries: 0 }).stream("hello")) {
          events.push(event);
          end = event.type;
        }
      } catch (error) {
        if (!(error instanceof LlmPoolError)) throw error;
        end = error.code;
      }

      expect(events).toEqual(vector.events);
      expect(end).toBe(vector.end);
      expect(await all(textOf(each(events)))).toEqual(vector.text);
    });
  });
});

async function* each<T>(items: T[]): AsyncGenerator<T> {
  yield* items;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describe("retries", () => {
  const { queries, budgets, ...constants } = vectors("retries");

  test("constants", () => {
    expect([INITIAL_BACKOFF, MAX_WAIT]).toEqual([constants.initial_backoff_ms, constants.max_wait_ms]);
  });

  test.each(pairs(queries))("%s", (_, vector) => {
    const budget = new Budget(vector.budget.ratio, vector.budget.floor);
    budget.noteRequest(0);
    const retry = new Retry(vector.retries, budget, vector.deadline_ms ?? undefined);

    for (const { error, at_ms: now, draw, wait_ms: wanted } of vector.failures) {
      const details = error.retry_after_ms === null ? {} : { retry_after_ms: error.retry_after_ms };
      expect(retry.wait(new LlmPoolError(error.code, "no", details), now, draw) ?? null).toEqual(wanted);
    }
  });

  test.each(pairs(budgets))("%s", (_, vector) => {
    const budget = new Budget(vector.budget.ratio, vector.budget.floor);

    for (const { at_ms: now, does, paid } of vector.steps) {
      if (does === "request") budget.noteRequest(now);
      else expect(budget.spend(now)).toBe(paid);
    }
  });
});

describe("deadlines", () => {
  const { grace_ms: grace, sent, over } = vectors("deadlines");

  test.each(sent as Vector[])("$remaining_ms ms", (vector) => {
    expect(deadlineHeader(vector.remaining_ms)).toBe(vector.x_deadline_ms);
    expect(GRACE).toBe(grace);
  });

  test("over", async () => {
    expect(await codeOf((async () => remainingOf(over.remaining_ms, 100, 0))())).toBe(over.code);
  });
});

describe("feedback", () => {
  test.each(named("feedback"))("%s", async (_, vector) => {
    await replaying(vector.response, [UTF8.encode(vector.response.body)], async (url, asked) => {
      const call = new LlmPool(url).feedback(vector.request_id, vector.good);

      if (vector.error) expect(await codeOf(call)).toBe(vector.error);
      else expect(await call).toBe(vector.learned);

      compare(asked, vector.request);
    });
  });
});
