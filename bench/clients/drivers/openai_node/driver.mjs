// The openai package for Node: chat, responses and embeddings.

import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import * as cells from "./cells.mjs";
import { cell, raised } from "./cells.mjs";

// <configured>
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "http://127.0.0.1:7071/v1", apiKey: "none" });
// </configured>

const City = z.object({ name: z.string(), people: z.number().int() });
const TOOL = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

const says = (content) => [{ role: "user", content }];
const ask = (content, more = {}) =>
  client.chat.completions.create({ model: "pool", messages: says(content), ...more });

await cell("plain", async () => ({ text: (await ask(cells.SKY)).choices[0].message.content }));

await cell("responses", async () => {
  const whole = await client.responses.create({ model: "pool", input: cells.SKY });
  const pieces = [];
  for await (const event of await client.responses.create({ model: "pool", input: cells.SEA, stream: true }))
    if (event.type === "response.output_text.delta") pieces.push(event.delta);
  return { text: whole.output_text, streamed: pieces.join(""), pieces: pieces.length };
});

await cell("stream", async () => {
  const pieces = [];
  for await (const chunk of await ask(cells.SEA, { stream: true }))
    if (chunk.choices[0]?.delta.content) pieces.push(chunk.choices[0].delta.content);
  return { text: pieces.join(""), pieces: pieces.length };
});

await cell("structured", async () => {
  const chat = await client.chat.completions.parse({
    model: "pool",
    messages: says(cells.CITY),
    response_format: zodResponseFormat(City, "city"),
  });
  return { value: chat.choices[0].message.parsed };
});

await cell("tools", async () => {
  const { message } = (await ask(cells.WEATHER, { tools: [TOOL] })).choices[0];
  const [call] = message.tool_calls;
  const result = { role: "tool", tool_call_id: call.id, content: cells.SUNNY };
  const chat = await client.chat.completions.create({
    model: "pool",
    messages: [...says(cells.WEATHER), message, result],
    tools: [TOOL],
  });
  return {
    call: call.function.name,
    arguments: call.function.arguments,
    text: chat.choices[0].message.content,
  };
});

await cell("error", async () => ({
  missing: await raised(() => ask(cells.SKY, { model: cells.MISSING })),
  broken: await raised(() => ask(cells.SKY, { model: cells.BROKEN })),
}));

await cell("embeddings", async () => {
  const listed = await client.embeddings.create({ model: cells.EMBEDDER, input: ["the sky", "the sea"] });
  return { vectors: listed.data.map((item) => item.embedding) };
});

await cell("thinking", async () => {
  const { message } = (await ask(cells.WHY, { reasoning_effort: "low" })).choices[0];
  return { text: message.content, thought: message.reasoning_content };
});

await cell("images", async () => {
  const picture = { type: "image_url", image_url: { url: `data:image/png;base64,${cells.PNG}` } };
  const chat = await ask([{ type: "text", text: cells.PICTURE }, picture]);
  return { text: chat.choices[0].message.content };
});

await cell("leave", async () => {
  const stream = await ask(cells.ENDLESS, { stream: true });
  let left;
  for await (const chunk of stream) {
    if (!chunk.choices[0]?.delta.content) continue;
    left = cells.now();
    stream.controller.abort();
    break;
  }
  return { left };
});
