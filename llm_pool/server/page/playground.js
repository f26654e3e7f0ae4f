// The playground: one question, every candidate side by side as it is written, and why one won.

import { call } from "./api.js";
import { waterfall, why } from "./decision.js";
import { $, el, span } from "./dom.js";

let asking = null; // an AbortController
let tasks = [];

export async function loadTasks() {
  if (tasks.length) return;
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
  }
  if (asking === mine) {
    asking = null;
    $("stop").hidden = true;
  }
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

$("task").addEventListener("change", hint);
$("play").addEventListener("submit", ask);
$("stop").addEventListener("click", () => asking && asking.abort());
