import { expect } from "vitest";

// What test/fivecalls.mjs gives everywhere.
export const EXPECTED = {
  answered: heard("Is 17 prime?"),
  streamed: heard("Tell me of the sea."),
  chat: heard("What is my name?"),
  learned: "boolean",
  healthy: true,
  aborted: "enough",
  wrong: ["invalid_request", "task"],
};

/** The scripted models say who they are, and what they were asked. */
function heard(words: string): unknown {
  return expect.stringMatching(new RegExp(`^(phi3:mini|llama3.1:8b|gemma2:9b) heard: ${words.replace("?", "\\?")}$`));
}
