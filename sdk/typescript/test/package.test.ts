// What is published: one small file, types that a consumer can use, generated types that are not stale.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";

const PACKAGE = fileURLToPath(new URL("../", import.meta.url));
const BUILT = readFileSync(`${PACKAGE}dist/index.js`);
const CONSUMER = `
import { LlmPool, type Answer } from "llm-pool";
const pool = new LlmPool("http://127.0.0.1:7071");
const answer: Answer = await pool.infer({ prompt: "x", deadline_ms: 1, turns: [{ role: "user", text: "y" }] });
const winner: string = answer.winner;
for await (const event of pool.stream("x")) if (event.type === "delta") event.text.trim();
// @ts-expect-error it has no such field
await pool.infer({ prompt: "x", deadline: 1 });
// @ts-expect-error an event of this type has no such field
for await (const event of pool.stream("x")) if (event.type === "start") event.text;
console.log(winner);
`;

test("the built file is under 8 KB gzipped, and imports nothing", () => {
  expect(gzipSync(BUILT, { level: 9 }).length).toBeLessThan(8 * 1024);
  expect(BUILT.toString()).not.toMatch(/\bimport\b|\brequire\b/);
});

test("a consumer compiles against its types, strictly", () => {
  const folder = mkdtempSync(`${PACKAGE}dist/consumer-`);
  try {
    writeFileSync(`${folder}/consumer.ts`, CONSUMER);
    const flags = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom"];
    run("npx", ["tsc", ...flags, `${folder}/consumer.ts`]); // "llm-pool" is this package itself, by its exports
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("src/openapi.ts is made of sdk/openapi.json", () => {
  run("npm", ["run", "-s", "types", "--", "--check"]);
});

function run(command: string, words: string[]): void {
  try {
    execFileSync(command, words, { cwd: PACKAGE, encoding: "utf8", stdio: "pipe" });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    expect.unreachable(`${command} ${words.join(" ")}\n${stdout}${stderr}`);
  }
}
