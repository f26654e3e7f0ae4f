"""A page of http://app.example:8080 in headless Chromium, which asks the pool by fetch and tells what came."""

import http.server
import json
import subprocess
import threading
from pathlib import Path

import cells

ORIGIN = "http://app.example:8080"
PATIENCE = 60
PAGE = """
<!doctype html>
<title>A page that asks the pool</title>
<script type="module">
// <configured js>
// llm-pool.toml: [server] origins = ["http://app.example:8080"]
const ask = (body, { path = "chat/completions", signal } = {}) =>
  fetch("http://127.0.0.1:7071/v1/" + path, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: "Bearer none" },
    body: JSON.stringify({ model: "pool", ...body }),
    signal,
  });
// </configured>

import { BROKEN, CITY, EMBEDDER, ENDLESS, MISSING, PICTURE, PNG, SEA, SKY, SUNNY, WEATHER, WHY } from "./cells.mjs";

const says = (content) => [{ role: "user", content }];
const message = async (body) => (await (await ask(body)).json()).choices[0].message;
const tell = (told) => fetch("/told", { method: "POST", body: JSON.stringify(told) });
const CITY_SCHEMA = {
  type: "object",
  properties: { name: { type: "string" }, people: { type: "integer" } },
  required: ["name", "people"],
};
const TOOL = {
  type: "function",
  function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};

async function* deltas(body, options) {
  const reader = (await ask({ ...body, stream: true }, options)).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let read; !(read = await reader.read()).done; ) {
    const lines = (rest + read.value).split("\\n\\n");
    rest = lines.pop();
    for (const line of lines)
      if (line !== "data: [DONE]") yield JSON.parse(line.slice(6)).choices[0]?.delta.content ?? "";
  }
}

const failure = async (model) => {
  const response = await ask({ model, messages: says(SKY) });
  return { type: String(response.status), message: (await response.json()).error.message };
};

const CELLS = {
  plain: async () => ({ text: (await message({ messages: says(SKY) })).content }),
  stream: async () => {
    const pieces = [];
    for await (const piece of deltas({ messages: says(SEA) })) if (piece) pieces.push(piece);
    return { text: pieces.join(""), pieces: pieces.length };
  },
  structured: async () => {
    const format = { type: "json_schema", json_schema: { name: "city", schema: CITY_SCHEMA } };
    return { value: JSON.parse((await message({ messages: says(CITY), response_format: format })).content) };
  },
  tools: async () => {
    const called = await message({ messages: says(WEATHER), tools: [TOOL] });
    const [call] = called.tool_calls;
    const result = { role: "tool", tool_call_id: call.id, content: SUNNY };
    const said = await message({ messages: [...says(WEATHER), called, result], tools: [TOOL] });
    return { call: call.function.name, arguments: call.function.arguments, text: said.content };
  },
  error: async () => ({ missing: await failure(MISSING), broken: await failure(BROKEN) }),
  embeddings: async () => {
    const made = await (await ask({ model: EMBEDDER, input: ["the sky", "the sea"] }, { path: "embeddings" })).json();
    return { vectors: made.data.map((item) => item.embedding) };
  },
  thinking: async () => {
    const said = await message({ messages: says(WHY) });
    return { text: said.content, thought: said.reasoning_content };
  },
  images: async () => {
    const picture = { type: "image_url", image_url: { url: "data:image/png;base64," + PNG } };
    return { text: (await message({ messages: says([{ type: "text", text: PICTURE }, picture]) })).content };
  },
  leave: async () => {
    const leaving = new AbortController();
    for await (const piece of deltas({ messages: says(ENDLESS) }, leaving)) if (piece) break;
    await tell({ cell: "leave", leaving: true });
    leaving.abort();
    return {};
  },
};

if (location.host.startsWith("stranger")) {
  const read = await ask({ messages: says(SKY) }).then(() => true, () => false);
  await tell({ cell: "refused", read });
} else
  for (const [cell, work] of Object.entries(CELLS)) {
    const said = await work().catch((error) => ({ raised: String(error) }));
    if (cell !== "leave") await tell({ cell, ...said });
  }
await fetch("/done");
</script>
"""


class Site(http.server.BaseHTTPRequestHandler):
    """Serves the page, and takes what it tells."""

    done = threading.Event()

    def do_GET(self):
        if self.path == "/done":
            self.done.set()
        script = self.path == "/cells.mjs"
        data = Path("cells.mjs").read_bytes() if script else PAGE.encode()
        self.reply(data, "text/javascript" if script else "text/html; charset=utf-8")

    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if told.pop("leaving", False):
            told["left"] = cells.now()
        print(json.dumps(told), flush=True)
        self.reply(b"{}", "application/json")

    def reply(self, data, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def visit(url):
    """Show *url* until its page is done."""
    Site.done.clear()
    resolved = "--host-resolver-rules=MAP *.example 127.0.0.1"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=profile"]
    with subprocess.Popen(["chromium", *flags, resolved, url], stderr=subprocess.DEVNULL) as browser:
        Site.done.wait(PATIENCE)
        browser.terminate()


site = http.server.ThreadingHTTPServer(("127.0.0.1", int(ORIGIN.rpartition(":")[2])), Site)
threading.Thread(target=site.serve_forever, daemon=True).start()
visit(ORIGIN)
visit(ORIGIN.replace("app.example", "stranger.example"))
