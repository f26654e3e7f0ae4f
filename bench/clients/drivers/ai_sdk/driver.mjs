// Vercel's AI SDK.

import { embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import * as cells from "./cells.mjs";
import { cell, raised } from "./cells.mjs";

// <configured>
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

const provider = createOpenAICompatible({
  name: "llm-pool",
  baseURL: "http://127.0.0.1:7071/v1",
  supportsStructuredOutputs: true,
});
const model = provider("pool");
const claude = createAnthropic({ baseURL: "http://127.0.0.1:7071/v1", apiKey: "none" })("pool");
// </configured>

const City = z.object({ name: z.string(), people: z.number().int() });

await cell("plain", async () => ({ text: (await generateText({ model, prompt: cells.SKY })).text }));

await cell("anthropic_chat", async () => ({
  text: (await generateText({ model: claude, prompt: cells.SKY })).text,
}));

await cell("stream", async () => {
  const pieces = [];
  for await (const piece of streamText({ model, prompt: cells.SEA }).textStream) pieces.push(piece);
  return { text: pieces.join(""), pieces: pieces.length };
});

await cell("structured", async () => {
  const { output } = await generateText({ model, prompt: cells.CITY, output: Output.object({ schema: City }) });
  return { value: output };
});

await cell("tools", async () => {
  const get_weather = tool({
    description: "The weather in a city",
    inputSchema: z.object({ city: z.string() }),
    execute: async () => cells.SUNNY,
  });
  const { steps, text } = await generateText({
    model,
    prompt: cells.WEATHER,
    tools: { get_weather },
    stopWhen: stepCountIs(3),
  });
  const [call] = steps[0].toolCalls;
  return { call: call.toolName, arguments: call.input, text };
});

await cell("error", async () => ({
  missing: await raised(() => generateText({ model: provider(cells.MISSING), prompt: cells.SKY })),
  broken: await raised(() => generateText({ model: provider(cells.BROKEN), prompt: cells.SKY, maxRetries: 1 })),
}));

await cell("embeddings", async () => ({
  vectors: (
    await embedMany({ model: provider.embeddingModel(cells.EMBEDDER), values: ["the sky", "the sea"] })
  ).embeddings,
}));

await cell("thinking", async () => {
  const { text, reasoningText } = await generateText({ model, prompt: cells.WHY });
  return { text, thought: reasoningText };
});

await cell("images", async () => {
  const content = [
    { type: "text", text: cells.PICTURE },
    { type: "image", image: cells.PNG, mediaType: "image/png" },
  ];
  return { text: (await generateText({ model, messages: [{ role: "user", content }] })).text };
});

await cell("leave", async () => {
  const leaving = new AbortController();
  let left;
  for await (const _ of streamText({ model, prompt: cells.ENDLESS, abortSignal: leaving.signal }).textStream) {
    left ??= cells.now();
    leaving.abort();
  }
  return { left };
});
