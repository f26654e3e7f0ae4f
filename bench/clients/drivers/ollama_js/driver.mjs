// The ollama package for JavaScript.

import * as cells from "./cells.mjs";
import { cell, raised } from "./cells.mjs";

// <configured>
import { Ollama } from "ollama";

const client = new Ollama({ host: "http://127.0.0.1:7071" });
// </configured>

const CITY = {
  type: "object",
  properties: { name: { type: "string" }, people: { type: "integer" } },
  required: ["name", "people"],
};
const TOOL = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

const ask = (content, more = {}) =>
  client.chat({ model: "pool", messages: [{ role: "user", content }], ...more });

await cell("listing", async () => ({
  names: (await client.list()).models.map((model) => model.model),
  capabilities: (await client.show({ model: "pool" })).capabilities,
}));

await cell("plain", async () => ({ text: (await ask(cells.SKY)).message.content }));

await cell("stream", async () => {
  const pieces = [];
  for await (const part of await ask(cells.SEA, { stream: true }))
    if (part.message.content) pieces.push(part.message.content);
  return { text: pieces.join(""), pieces: pieces.length };
});

await cell("structured", async () => ({
  value: JSON.parse((await ask(cells.CITY, { format: CITY })).message.content),
}));

await cell("tools", async () => {
  const { message } = await ask(cells.WEATHER, { tools: [TOOL] });
  const call = message.tool_calls[0].function;
  const result = { role: "tool", tool_name: call.name, content: cells.SUNNY };
  const messages = [{ role: "user", content: cells.WEATHER }, message, result];
  const said = await client.chat({ model: "pool", messages, tools: [TOOL] });
  return { call: call.name, arguments: call.arguments, text: said.message.content };
});

await cell("error", async () => ({
  missing: await raised(() => ask(cells.SKY, { model: cells.MISSING })),
  broken: await raised(() => ask(cells.SKY, { model: cells.BROKEN })),
}));

await cell("embeddings", async () => ({
  vectors: (await client.embed({ model: cells.EMBEDDER, input: ["the sky", "the sea"] })).embeddings,
}));

await cell("thinking", async () => {
  const { message } = await ask(cells.WHY, { think: true });
  return { text: message.content, thought: message.thinking };
});

await cell("images", async () => {
  const messages = [{ role: "user", content: cells.PICTURE, images: [cells.PNG] }];
  return { text: (await client.chat({ model: "pool", messages })).message.content };
});

await cell("leave", async () => {
  const stream = await ask(cells.ENDLESS, { stream: true });
  let left;
  try {
    for await (const part of stream) {
      if (!part.message.content) continue;
      left = cells.now();
      stream.abort();
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
  return { left };
});
