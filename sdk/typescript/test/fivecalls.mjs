// The five calls, in whatever runs this: prints or returns what they gave. Plain JavaScript, against the built file.
export async function fiveCalls({ LlmPool, textOf }, url, options) {
  const pool = new LlmPool(url, options);
  const answer = await pool.infer({ prompt: "Is 17 prime?", strategy: "VOTING", deadline_ms: 20_000, no_cache: true });
  let streamed = "";
  for await (const piece of textOf(pool.stream("Tell me of the sea."))) streamed += piece;
  const chat = await pool.chat([{ role: "user", content: "What is my name?" }]);
  const learned = await pool.feedback(answer.request_id, true);
  const { healthy } = await pool.health();
  const stop = new AbortController();
  const silent = { prompt: "cats", task: "expand_queries", providers: ["silent"], deadline_ms: 30_000 };
  setTimeout(() => stop.abort(new Error("enough")), 200);
  const aborted = await pool.infer(silent, { signal: stop.signal }).catch((error) => error.message);
  const wrong = await pool.infer({ prompt: "x", task: "nope" }).catch((error) => [error.code, error.field]);
  return { answered: answer.content, streamed, chat: chat.content, learned: typeof learned, healthy, aborted, wrong };
}
