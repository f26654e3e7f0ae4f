// The built file in headless Chromium, on pages of other origins than the daemon's: fetch, streams, WebCrypto, CORS.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { expect, inject, test } from "vitest";
import { EXPECTED } from "./fivecalls.ts";

const PACKAGE = fileURLToPath(new URL("../", import.meta.url));
const { open, closed, secret, origin } = inject("daemons");
const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find((path) => existsSync(path));
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"];
const FILES = { "/index.js": `${PACKAGE}dist/index.js`, "/fivecalls.mjs": `${PACKAGE}test/fivecalls.mjs` };

/** What `script`, which gives a promise, comes to on a page; `host` is the page's own, by default this machine. */
async function onPage(script: string, host?: string): Promise<unknown> {
  const { promise, resolve } = withResolver<unknown>();
  const page = `<!doctype html><script type="module">
    import * as sdk from "/index.js";
    import { fiveCalls } from "/fivecalls.mjs";
    const result = await (${script}).catch((error) => String(error));
    await fetch("/result", { method: "POST", body: JSON.stringify(result) });
  </script>`;
  const server = createServer(async (request, response) => {
    if (request.url === "/result") resolve(JSON.parse(await bodyOf(request)));
    const file = FILES[request.url as keyof typeof FILES];
    response.setHeader("content-type", file ? "text/javascript" : "text/html");
    response.end(file ? readFileSync(file) : page);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  const profile = mkdtempSync(`${tmpdir()}/llm-pool-chromium-`);
  const rules = host ? [`--host-resolver-rules=MAP ${host}:80 127.0.0.1:${port}`] : [];
  const url = host ? `http://${host}/` : `http://localhost:${port}/`;
  const browser = spawn(CHROMIUM as string, [...FLAGS, ...rules, `--user-data-dir=${profile}`, url], {
    stdio: "ignore",
    detached: true, // a group of its own, so that its children end with it
  });
  try {
    return await promise;
  } finally {
    const ended = new Promise((exited) => browser.on("exit", exited));
    process.kill(-(browser.pid as number), "SIGKILL");
    await ended;
    server.closeAllConnections();
    server.close();
    try {
      rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    } catch {
      // A child that is still ending writes its last: what it leaves is a folder for temporary files.
    }
  }
}

function withResolver<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((given) => {
    resolve = given;
  });
  return { promise, resolve };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = "";
  for await (const piece of request) body += String(piece);
  return body;
}

test.skipIf(CHROMIUM === undefined)("a page of this machine asks a daemon that asks nobody", async () => {
  expect(await onPage(`fiveCalls(sdk, "${open.http}")`)).toEqual(EXPECTED);
}, 60_000);

test.skipIf(CHROMIUM === undefined)("a page of this machine signs", async () => {
  const script = `fiveCalls(sdk, "${closed.http}", { credentials: sdk.hmacKey("acme", "${secret}") })`;
  expect(await onPage(script)).toEqual(EXPECTED);
}, 60_000);

test.skipIf(CHROMIUM === undefined)("a page of a listed origin asks with a bearer key", async () => {
  const script = `fiveCalls(sdk, "${closed.http}", { credentials: sdk.bearer("${secret}") })`;
  expect(await onPage(script, new URL(origin).hostname)).toEqual(EXPECTED);
}, 60_000);

test.skipIf(CHROMIUM === undefined)("a page of another origin gets nothing", async () => {
  const script = `new sdk.LlmPool("${closed.http}", { retries: 0 }).infer("x").catch((error) => error.code)`;
  expect(await onPage(script, "evil.test")).toBe("unreachable");
}, 60_000);
