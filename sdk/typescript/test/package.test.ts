// What is published: one small file; types that are not stale.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";

const PACKAGE = fileURLToPath(new URL("../", import.meta.url));
const BUILT = readFileSync(`${PACKAGE}dist/index.js`);
test("the built file is under 8 KB gzipped, and imports nothing", () => {
  expect(gzipSync(BUILT, { level: 9 }).length).toBeLessThan(8 * 1024);
  expect(BUILT.toString()).not.toMatch(/\bimport\b|\brequire\b/);
});

test("src/openapi.ts is made of sdk/openapi.json", () => {
  execFileSync("npm", ["run", "-s", "types", "--", "--check"], { cwd: PACKAGE, stdio: "pipe" });
});
