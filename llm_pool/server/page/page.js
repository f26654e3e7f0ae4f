// The status page. Whatever comes from models, clients or files is text: it goes in by textContent, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
const KEY = "llm-pool key";
const POLL = 1500; // milliseconds
const KEPT = 200; // rows of recent requests

let newest = 0; // number of the latest request shown
let timer = 0;
let asking = null; // the playground's AbortController
let tasks = [];
const drawn = new Map(); // what each part shows, so that nothing is redrawn (and loses focus) without a change

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, call] of Object.entries(value)) node.addEventListener(event, call);
    else if (name === "place") Object.assign(node.style, value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

function draw(id, value, make) {
  const said = JSON.stringify(value);
  if (drawn.get(id) === said) return;
  drawn.set(id, said);
  $(id).replaceChildren(...[make(value)].flat().filter(Boolean));
}

const known = (value, show) => (value === null || value === undefined ? "–" : show(value));
const percent = (share) => `${Math.round(share * 100)} %`;
const span = (ms) => {
  if (ms < 995) return `${ms < 10 ? Math.round(ms * 10) / 10 : Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 100) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} days`;
};
const clock = (unix) => new Date(unix * 1000).toLocaleTimeString([], { hour12: false });

// Asking the daemon

function headers(extra = {}) {
  const key = sessionStorage.getItem(KEY);
  return key ? { ...extra, authorization: `Bearer ${key}` } : extra;
}

async function call(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers(options.headers) });
  if (response.status === 401) throw Object.assign(new Error("a key is needed"), { locked: true });
  if (!response.ok) throw Object.assign(new Error(await problem(response)), { status: response.status });
  return response;
}

async function problem(response) {
  try {
    const { error } = await response.json();
    return error.hint ? `${error.message}. ${error.hint}` : error.message;
  } catch {
    return `status ${response.status}`;
  }
}

async function poll() {
  clearTimeout(timer);
  try {
    const status = await (await call(`/v1/status?since=${newest}`)).json();
    if (newest === 0 && !tasks.length) await loadTasks();
    show(status);
  } catch (error) {
    if (error.locked) lock();
    else away(error);
  }
  if (!document.hidden && $("key-form").hidden) timer = setTimeout(poll, POLL);
}

function lock() {
  $("key-error").textContent = sessionStorage.getItem(KEY) ? "That key is not good here." : "";
  sessionStorage.removeItem(KEY);
  $("content").hidden = true;
  $("key-form").hidden = false;
  say("loading", "Locked", []);
}

function away(error) {
  say("away", "Out of reach", [error.status ? error.message : "the daemon does not answer; trying again"]);
}

// The parts of the page

function show(status) {
  $("content").hidden = false;
  say(status.verdict.state, { serving: "Serving", degraded: "Degraded", down: "Down", stopping: "Stopping" }[status.verdict.state], status.verdict.why);
  const facts = [["version", status.version], ["up", span(status.uptime_ms)], ["configuration", `no. ${status.generation}`],
    ["cache hits", percent(status.cache_hit_ratio)], ["spare calls", status.budget_left.toFixed(0)]];
  draw("facts", facts, (all) => all.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  const hidden = status.in_flight - status.requests.length;
  $("flight-count").textContent = status.in_flight || "";
  draw("flight", [status.requests, hidden], () => flights(status.requests, hidden));
  draw("providers", status.providers, (providers) => providers.map(card));
  draw("reload", status.last_reload, reload);
  recent(status);
}

function say(state, title, why) {
  $("verdict").dataset.state = state;
  if ($("verdict-state").textContent !== title) $("verdict-state").textContent = title;
  draw("verdict-why", why, (all) => all.map((line) => el("li", {}, line)));
  document.title = `${title} – llm-pool`;
}

function flights(requests, hidden) {
  const rows = requests.map((request) => el("div", { class: "line flight" },
    el("div", { class: "who" }, request.task, el("small", {}, whose(request), request.strategy ? ` ${request.strategy}` : "")),
    el("div", { class: "num" }, span(request.elapsed_ms)),
    el("button", { class: "small", type: "button", "aria-label": `Cancel request ${request.number}`, on: { click: (event) => cancel(event.target, request.number) } }, "Cancel")));
  if (hidden > 0) rows.push(el("p", { class: "empty" }, `${hidden} of other clients`));
  return rows.length ? rows : el("p", { class: "empty" }, "Nothing is being answered right now.");
}

async function cancel(button, number) {
  button.disabled = true;
  try {
    await call(`/v1/requests/${number}`, { method: "DELETE" });
  } catch {
    // it has ended meanwhile
  }
  poll();
}

const whose = (request) => [request.tenant_id, request.project_id, (request.request_id || "").slice(0, 12)].filter(Boolean).join(" / ");
const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);

const CONDITIONS = {
  healthy: ["ok", "healthy"], warming: ["warn", "loads on demand"], unreachable: ["bad", "unreachable"],
  model_missing: ["bad", "model missing"], failing: ["bad", "failing"],
};

function card(provider) {
  const [tone, word] = CONDITIONS[provider.state] || ["", provider.state];
  const open = provider.breakers.some((breaker) => breaker.state === "open");
  return el("article", { class: "card" },
    el("div", {},
      el("header", {}, el("h3", {}, provider.name), el("span", { class: `tag ${open ? "bad" : tone}` }, open ? "breaker open" : word)),
      el("div", { class: "model" }, `${provider.model} · ${provider.driver}${provider.last_resort ? " · last resort" : ""}`)),
    spark(provider.ttfts_ms),
    stats([["first token", known(provider.ttft_p50_ms, span)], ["p95", known(provider.ttft_p95_ms, span)],
      ["tokens/s", known(provider.tokens_per_second, (rate) => rate.toFixed(rate < 10 ? 1 : 0))],
      ["slots", `${provider.busy} of ${provider.slots}`], ["queue", provider.waiting], ["wins", known(provider.win_rate, percent)]]),
    el("div", { class: "notes" },
      ...provider.breakers.map(breaker),
      provider.state !== "healthy" && provider.detail ? el("div", {}, provider.detail) : null,
      provider.state !== "healthy" && provider.hint ? el("div", {}, el("code", {}, provider.hint)) : null,
      provider.last_error && provider.last_error !== provider.detail ? el("div", { class: "muted" }, `last error: ${provider.last_error}`) : null));
}

function breaker(told) {
  const left = told.retry_after_ms === null ? "" : `, next try in ${Math.ceil(told.retry_after_ms / 1000)} s`;
  const word = told.why === "backoff" ? "asked us to wait" : told.state;
  return el("div", {}, el("span", { class: `tag ${told.state === "open" ? "bad" : "warn"}` }, word), ` ${told.task}${left}`);
}

function stats(pairs) {
  return el("dl", { class: "stats" }, ...pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))));
}

function spark(values) {
  const top = Math.max(...values, 1);
  const bars = values.map((value) => el("i", { title: span(value), place: { height: `${Math.max(6, (100 * value) / top)}%` } }));
  return el("div", { class: "spark", role: "img", "aria-label": `time to first token of the last ${values.length} calls` }, ...bars);
}

function reload(last) {
  const when = clock(last.at);
  if (last.ok) return el("p", {}, `Configuration ${last.generation} loaded at ${when}.`);
  const where = [last.error.key, last.error.line ? `line ${last.error.line}` : ""].filter(Boolean).join(", ");
  return [el("p", { class: "error" }, `The configuration of ${when} was refused; number ${last.generation} goes on.`),
    el("p", { class: "text" }, last.error.message), el("p", { class: "muted" }, [where, last.error.hint].filter(Boolean).join(" – "))];
}

// Recent requests

function recent(status) {
  const list = $("recent");
  for (const told of status.recent) {
    if (told.number <= newest) continue;
    if (newest === 0) list.replaceChildren();
    newest = told.number;
    list.prepend(row(told));
  }
  while (list.children.length > KEPT) list.lastChild.remove();
  if (!list.children.length) list.append(el("p", { class: "empty" }, "No request has ended yet. The playground below sends one."));
}

function row(told) {
  const details = el("details", {}, el("summary", { class: "line recent" },
    el("time", {}, clock(told.at)),
    el("div", { class: "who" }, told.task, el("small", {}, brief(told))),
    badge(told), el("div", { class: "num" }, span(told.duration_ms))));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(el("div", { class: "inside" }, ...inside(told)));
  });
  return details;
}

function brief(told) {
  if (told.error) return `${whose(told)} ${told.error.message.split("\n")[0]}`;
  return [`${told.strategy_used} → ${told.winner}`, whose(told)].filter(Boolean).join(" · ");
}

function badge(told) {
  if (told.error) return el("span", { class: "tag bad" }, told.error.code.replaceAll("_", " "));
  if (told.from_cache) return el("span", { class: "tag" }, "cached");
  if (told.degraded) return el("span", { class: "tag warn" }, "degraded");
  return el("span", { class: "tag ok" }, "answered");
}

function inside(told) {
  const parts = [el("p", { class: "muted mono" }, [told.request_id, told.tenant_id, told.project_id].filter(Boolean).join(" / "))];
  if (told.prompt) parts.push(block("Prompt", told.prompt));
  if (told.content && !told.said) parts.push(block("Answer", told.content));
  const decision = told.decision || (told.error && told.error.decision);
  if (decision) parts.push(...why(decision, told.said));
  else if (told.error) {
    parts.push(el("p", { class: "text" }, told.error.message));
    if (told.error.hint) parts.push(el("p", { class: "muted" }, told.error.hint));
    if (told.error.attempts && told.error.attempts.length) parts.push(waterfall(told.error.attempts, null));
  }
  return parts;
}

const block = (title, text) => el("div", {}, el("p", { class: "sub" }, title), el("div", { class: "text quote" }, text));

function why(decision, said) {
  const notes = [decision.degraded ? decision.degraded_reason : "", ...decision.notes].filter(Boolean);
  return [
    el("p", {}, el("strong", {}, decision.winner), ` won by ${decision.strategy_used}: ${sentence(decision.reason)}`,
      decision.agreement === null ? "" : ` Agreement: ${percent(decision.agreement)}.`,
      decision.confidence === null ? "" : ` Confidence: ${percent(decision.confidence)}.`),
    notes.length ? el("p", { class: "muted" }, notes.join(" · ")) : null,
    waterfall(decision.attempts, decision.winner),
    votes(decision),
    said ? candidates(said, decision.winner) : null,
  ].filter(Boolean);
}

function candidates(said, winner) {
  return el("div", { class: "candidates" }, ...Object.entries(said).map(([provider, text]) =>
    el("article", { class: `candidate ${provider === winner ? "winner" : ""}` }, el("h3", {}, provider), el("div", { class: "text" }, text))));
}

const TONES = { ok: "ok", invalid: "bad", failed: "bad", timed_out: "bad", cancelled: "cancelled", refused: "bad" };

function waterfall(attempts, winner) {
  const end = Math.max(...attempts.map((attempt) => attempt.started_ms + attempt.duration_ms), 1);
  const at = (ms) => `${(100 * ms) / end}%`;
  const rows = attempts.map((attempt) => {
    const first = attempt.ttft_ms === null ? attempt.duration_ms : attempt.ttft_ms;
    const silent = attempt.ttft_ms === null && attempt.outcome !== "ok";
    const track = el("div", { class: "track" },
      el("div", { class: `bar ${silent ? TONES[attempt.outcome] : "wait"}`, place: { left: at(attempt.started_ms), width: at(first) } }),
      attempt.ttft_ms === null ? null : el("div", { class: `bar ${TONES[attempt.outcome]}`, place: { left: at(attempt.started_ms + first), width: at(attempt.duration_ms - first) } }));
    const word = attempt.outcome === "ok" ? attempt.why : `${attempt.why}, ${attempt.error_kind || attempt.outcome}`.replaceAll("_", " ");
    return third(el("div", { class: `name ${attempt.provider === winner ? "won" : ""}`, title: attempt.error || attempt.model }, attempt.provider),
      track, span(attempt.duration_ms), word);
  });
  const legend = [["wait", "until the first token"], ["ok", "writing"], ["cancelled", "cancelled"], ["bad", "failed"]];
  return el("div", {}, el("p", { class: "sub" }, "Attempts"), el("div", { class: "fall" }, ...rows),
    el("p", { class: "legend" }, ...legend.map(([tone, text]) => el("span", {}, el("i", { class: `bar ${tone}` }), text))));
}

// A row of three: a name, a bar, a number with a word. On a phone the bar has a line of its own.
const third = (name, track, number, word = "") => el("div", { class: "third" }, name, track,
  el("div", { class: "num" }, number, word ? el("span", { class: "muted" }, ` ${word}`) : ""));

function votes(decision) {
  const clusters = decision.strategy_used === "FASTEST" ? [] : decision.clusters;
  const rows = clusters.length
    ? clusters.map((cluster) => [cluster.providers.join(", "), cluster.score, cluster.label.slice(0, 40), cluster.providers.includes(decision.winner)])
    : Object.entries(decision.scores).map(([provider, score]) => [provider, score, "", provider === decision.winner]);
  if (rows.length < 2 && !clusters.length) return null;
  const top = Math.max(...rows.map(([, score]) => score), 1e-9);
  return el("div", {}, el("p", { class: "sub" }, clusters.length ? "Votes" : "Scores"), el("div", { class: "votes" },
    ...rows.map(([name, score, label, won]) => third(el("div", { class: `name ${won ? "won" : ""}` }, name),
      el("div", { class: "track" }, el("div", { class: `bar ${won ? "ok" : ""}`, place: { left: "0", width: percentOf(score, top) } })),
      round(score), label))));
}

const percentOf = (value, top) => `${Math.max(0, Math.min(100, (100 * value) / top))}%`;
const round = (value) => String(Math.round(value * 1000) / 1000);

// Playground

async function loadTasks() {
  tasks = (await (await call("/v1/tasks")).json()).tasks.filter((task) => task.enabled);
  tasks.sort((a, b) => (b.name === "ask") - (a.name === "ask"));
  $("task").replaceChildren(...tasks.map((task) => el("option", { value: task.name }, task.name)));
  hint();
}

function hint() {
  const task = tasks.find((one) => one.name === $("task").value);
  $("task-hint").textContent = task ? [task.description, task.input_schema ? "Takes JSON." : ""].filter(Boolean).join(" ") : "";
}

async function ask(event) {
  event.preventDefault();
  if (asking) asking.abort();
  const mine = (asking = new AbortController());
  const body = { prompt: $("prompt").value, task: $("task").value, strategy: $("strategy").value, stream: true, no_cache: true };
  const table = new Table();
  $("result").replaceChildren(table.node);
  $("stop").hidden = false;
  try {
    const response = await call("/v1/infer", { method: "POST", body: JSON.stringify(body), signal: mine.signal, headers: { "content-type": "application/json" } });
    for await (const told of events(response.body)) table.take(told);
  } catch (error) {
    table.fail(error.name === "AbortError" ? "Stopped." : error.message);
    if (error.locked) lock();
  }
  if (asking === mine) {
    asking = null;
    $("stop").hidden = true;
  }
  poll();
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const said of blocks) {
      const data = said.split("\n").find((line) => line.startsWith("data: "));
      if (data) yield { type: said.split("\n")[0].replace("event: ", ""), ...JSON.parse(data.slice(6)) };
    }
  }
}

class Table {
  constructor() {
    this.columns = new Map();
    this.candidates = el("div", { class: "candidates" });
    this.outcome = el("div", { class: "outcome" }, el("p", { class: "muted" }, "Asking…"));
    this.node = el("div", { class: "table" }, this.outcome, this.candidates);
  }

  column(provider, model = "") {
    if (!this.columns.has(provider)) {
      const text = el("div", { class: "text" });
      const state = el("span", { class: "tag" }, "thinking");
      const foot = el("footer", {}, model);
      const node = el("article", { class: "candidate" }, el("header", {}, el("h3", {}, provider), state), text, foot);
      this.candidates.append(node);
      this.columns.set(provider, { node, text, state, foot });
    }
    return this.columns.get(provider);
  }

  take(told) {
    if (told.type === "start" && told.why !== "judge") this.column(told.provider, told.model);
    if (told.type === "waiting") this.column(told.provider).state.textContent = `queues behind ${told.ahead}`;
    if (told.type === "loading") this.column(told.provider).state.textContent = "loads its model";
    if (told.type === "delta" && this.columns.has(told.provider)) {
      const column = this.column(told.provider);
      column.state.textContent = "writes";
      column.text.append(told.text);
    }
    if (told.type === "candidate") this.column(told.provider, told.model).text.textContent = told.content;
    if (told.type === "attempt" && told.why !== "judge") this.ended(told);
    if (told.type === "answer") this.answered(told);
    if (told.type === "error") this.fail(told.error.message, told.error);
  }

  ended(attempt) {
    const column = this.column(attempt.provider, attempt.model);
    const word = attempt.outcome === "ok" ? "answered" : attempt.outcome.replaceAll("_", " ");
    column.state.textContent = word;
    column.state.className = `tag ${attempt.outcome === "ok" ? "ok" : attempt.outcome === "cancelled" ? "" : "bad"}`;
    const tokens = attempt.completion_tokens === null ? "" : `${attempt.completion_tokens} tokens`;
    column.foot.textContent = [attempt.model, span(attempt.duration_ms), tokens, attempt.error].filter(Boolean).join(" · ");
  }

  answered(answer) {
    const winner = this.columns.get(answer.winner);
    if (winner) {
      winner.node.classList.add("winner");
      winner.state.textContent = "won";
      winner.state.className = "tag ok";
      if (!winner.text.textContent) winner.text.textContent = answer.content;
      this.candidates.prepend(winner.node);
    }
    const head = `${answer.strategy_used} chose ${answer.winner} in ${span(answer.duration_ms)}`;
    this.outcome.replaceChildren(el("h3", {}, head), ...why(answer.decision));
  }

  fail(message, error = null) {
    const attempts = error && error.attempts && error.attempts.length ? waterfall(error.attempts, null) : null;
    this.outcome.replaceChildren(...[el("p", { class: "error text" }, message), attempts].filter(Boolean));
  }
}

// Configuration

async function showConfig() {
  if (!$("config").open) return;
  try {
    const config = await (await call("/v1/config")).json();
    $("config-path").textContent = config.path;
    $("config-toml").textContent = config.toml;
  } catch (error) {
    $("config-toml").textContent = error.message;
  }
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("key").value.trim());
  $("key").value = "";
  $("key-form").hidden = true;
  poll();
});
$("task").addEventListener("change", hint);
$("play").addEventListener("submit", ask);
$("stop").addEventListener("click", () => asking && asking.abort());
$("config").addEventListener("toggle", showConfig);
document.addEventListener("visibilitychange", () => document.hidden || poll());
poll();
