// The pages are true: their TypeScript is checked against the published types, and run against a daemon.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { transformSync } from "esbuild";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { asModule, examples } from "./documents.ts";

const PACKAGE = fileURLToPath(new URL("../", import.meta.url));
const FOLDER = `${PACKAGE}dist/examples`;
const BUILT = pathToFileURL(`${PACKAGE}dist/index.js`).href;
const { http } = inject("daemons").open;
const PAGES = {
  "docs/sdk.md": ["true", "heard: Is 17 prime?", "heard: Tell me of the sea.", "What is my name?"],
  "README.md": ["true", "heard: Is 17 prime?", "heard: Tell me of the sea.", "What is my name?"],
  "sdk/typescript/README.md": ["heard: Is 17 prime?", "must_include", "phi3:mini", "invalid_request task did you mean"],
};
/** What the types let through, and what not. */
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

beforeAll(() => {
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(`${FOLDER}/consumer.ts`, CONSUMER);
  for (const page of Object.keys(PAGES)) writeFileSync(`${FOLDER}/${fileOf(page)}.ts`, asModule(examples(page, http), "llm-pool"));
});

afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));

function fileOf(page: string): string {
  return page.replaceAll("/", "-");
}

test("they compile, as any consumer does", () => {
  const flags = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom"];
  const files = ["consumer", ...Object.keys(PAGES).map(fileOf)].map((name) => `${FOLDER}/${name}.ts`);

  const { stdout } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", ...flags, ...files], {
    cwd: PACKAGE,
    encoding: "utf8",
  });

  expect(stdout).toBe("");
}, 120_000);

test.each(Object.entries(PAGES))("%s runs", (page, told) => {
  const { code } = transformSync(asModule(examples(page, http), BUILT), { loader: "ts" });
  const file = `${FOLDER}/${fileOf(page)}.mjs`;
  writeFileSync(file, code);

  const said = execFileSync(process.execPath, [file], { encoding: "utf8" }).replaceAll("\n", "");

  for (const words of told) expect(said).toContain(words);
});
