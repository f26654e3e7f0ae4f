// The pages are true: their TypeScript is checked, and run against a daemon.
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { transformSync } from "esbuild";
import { afterAll, expect, inject, test } from "vitest";
import { asModule, examples } from "./documents.ts";

const PACKAGE = fileURLToPath(new URL("../", import.meta.url));
const FOLDER = `${PACKAGE}dist/examples`;
const { http } = inject("daemons").open;

afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));

test.each([
  ["docs/sdk.md", ["true", "heard: Is 17 prime?", "heard: Tell me of the sea.", "What is my name?"]],
  ["README.md", ["true", "heard: Is 17 prime?", "heard: Tell me of the sea.", "What is my name?"]],
  [
    "sdk/typescript/README.md",
    ["heard: Is 17 prime?", "must_include", "phi3:mini", "What colour is the sky?", "invalid_request task did you mean"],
  ],
])("%s", (page, told) => {
  const blocks = examples(page, http);
  expect(blocks).not.toHaveLength(0);
  mkdirSync(FOLDER, { recursive: true });
  const name = page.replaceAll("/", "-");

  writeFileSync(`${FOLDER}/${name}.ts`, asModule(blocks, "llm-pool"));
  const flags = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom"];
  execFileSync("npx", ["tsc", ...flags, `${FOLDER}/${name}.ts`], { cwd: PACKAGE, stdio: "pipe" });
  const { code } = transformSync(asModule(blocks, pathToFileURL(`${PACKAGE}dist/index.js`).href), { loader: "ts" });
  writeFileSync(`${FOLDER}/${name}.mjs`, code);
  const said = execFileSync(process.execPath, [`${FOLDER}/${name}.mjs`], { encoding: "utf8" }).replaceAll("\n", "");

  for (const words of told) expect(said).toContain(words);
});
