// The built file in Node, Deno and Bun, each a process of its own; what is not installed is skipped.
import { execFileSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, expect, inject, test } from "vitest";
import { EXPECTED } from "./fivecalls.ts";

const PACKAGE = fileURLToPath(new URL("../", import.meta.url));
const SCRIPT = `${PACKAGE}dist/runtime.mjs`;
const { open, closed, secret } = inject("daemons");
const RUNTIMES = [
  ["node", process.execPath, []],
  ["deno", program("deno"), ["run", "--allow-net", "--no-lock", "--no-config"]],
  ["bun", program("bun"), ["run"]],
] as const;

afterAll(() => rmSync(SCRIPT, { force: true }));

/** A program of this package's node_modules, or of the PATH. */
function program(name: string): string | undefined {
  const own = `${PACKAGE}node_modules/.bin/${name}`;
  if (existsSync(own)) return own;
  return process.env["PATH"]?.split(":").map((folder) => `${folder}/${name}`).find(existsSync);
}

test.for(RUNTIMES)("%s", { timeout: 90_000 }, ([name, path, words], { skip }) => {
  if (path === undefined) return skip(`npm install --no-save ${name}  brings it`);
  const key = JSON.stringify(secret);
  writeFileSync(
    SCRIPT,
    `import * as sdk from "./index.js";
     import { fiveCalls } from "../test/fivecalls.mjs";
     const results = [await fiveCalls(sdk, "${open.http}")];
     for (const credentials of [sdk.hmacKey("acme", ${key}), sdk.bearer(${key})])
       results.push(await fiveCalls(sdk, "${closed.http}", { credentials }));
     console.log(JSON.stringify(results));`,
  );

  const said = execFileSync(path, [...words, SCRIPT], { encoding: "utf8", timeout: 60_000 });

  expect(JSON.parse(said.trim().split("\n").at(-1) ?? "")).toEqual([EXPECTED, EXPECTED, EXPECTED]);
});
