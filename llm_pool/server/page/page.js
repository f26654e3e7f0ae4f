// The status page: it asks the daemon how it is, again and again, and shows it.

import { call, key } from "./api.js";
import { hour } from "./charts.js";
import { $, clock, draw, el, known, percent, span, whose } from "./dom.js";
import { loadTasks } from "./playground.js";
import { arrive, latest } from "./requests.js";

const POLL = 1500; // milliseconds
const CANCELLABLE = 20; // requests in flight that have a row

let timer = 0;

async function poll() {
  clearTimeout(timer);
  try {
    const status = await (await call(`/v1/status?since=${latest()}`)).json();
    await loadTasks();
    anchored(() => show(status));
    if (status.sees_all) await hour();
  } catch (error) {
    if (error.locked) lock();
    else away(error);
  }
  if (!document.hidden && $("key-form").hidden) timer = setTimeout(poll, POLL);
}

function lock() {
  $("key-error").textContent = key.get() ? "That key is not good here." : "";
  key.forget();
  $("content").hidden = true;
  $("key-form").hidden = false;
  say("loading", "Locked", []);
}

function away(error) {
  say("away", "Out of reach", [error.status ? error.message : "the daemon does not answer; trying again"]);
}

// Whoever reads an opened request goes on where they are, whatever grows above it.
function anchored(change) {
  const open = $("recent").querySelector("details[open]");
  const before = open?.getBoundingClientRect().top;
  change();
  if (open) window.scrollBy(0, open.getBoundingClientRect().top - before);
}

// The parts of the page

function show(status) {
  $("content").hidden = false;
  say(status.verdict.state, { serving: "Serving", degraded: "Degraded", down: "Down", stopping: "Stopping" }[status.verdict.state], status.verdict.why);
  const facts = [["version", status.version], ["up", span(status.uptime_ms)],
    [`configuration ${status.generation}`, `loaded at ${clock(status.loaded_at)}`],
    ["cache hits", percent(status.cache_hit_ratio)], ["hedge budget", `${status.budget_left.toFixed(0)} calls`]];
  draw("facts", facts, (all) => all.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  const hidden = status.in_flight - status.requests.length;
  $("flight-count").textContent = status.in_flight || "";
  draw("flight", [status.requests, hidden], () => flights(status.requests, hidden));
  draw("providers", status.providers, (providers) => providers.map(card));
  draw("reload", status.last_reload, reload);
  $("capture-note").hidden = status.captures;
  arrive(status.recent);
}

function say(state, title, why) {
  $("verdict").dataset.state = state;
  if ($("verdict-state").textContent !== title) $("verdict-state").textContent = title;
  draw("verdict-why", why, (all) => all.map((line) => el("li", {}, line)));
  document.title = `${title} – llm-pool`;
}

function flights(requests, hidden) {
  const rows = requests.slice(0, CANCELLABLE).map((request) => el("div", { class: "line flight" },
    el("div", { class: "who" }, request.task, request.prompt ? el("span", { class: "asked" }, request.prompt.slice(0, 200)) : null, el("small", {}, whose(request), request.strategy ? ` ${request.strategy}` : "")),
    el("div", { class: "num" }, span(request.elapsed_ms)),
    el("button", { class: "small", type: "button", "aria-label": `Cancel request ${request.number}`, on: { click: (event) => cancel(event.target, request.number) } }, "Cancel")));
  if (requests.length > CANCELLABLE) rows.push(el("p", { class: "empty" }, `${requests.length - CANCELLABLE} more`));
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
    stats([["waits", known(provider.queue_p50_ms, span)], ["first token", known(provider.ttft_p50_ms, span)], ["writes", known(provider.writing_p50_ms, span)],
      ["waits p95", known(provider.queue_p95_ms, span)], ["token p95", known(provider.ttft_p95_ms, span)],
      ["tokens/s", known(provider.tokens_per_second, (rate) => rate.toFixed(rate < 10 ? 1 : 0))],
      ["in queue", provider.waiting], ["slots", `${provider.busy} of ${provider.slots}`], ["wins", known(provider.win_rate, percent)]]),
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
  key.set($("key").value.trim());
  $("key").value = "";
  $("key-form").hidden = true;
  poll();
});
$("config").addEventListener("toggle", showConfig);
document.addEventListener("visibilitychange", () => document.hidden || poll());
poll();
