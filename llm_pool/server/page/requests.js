// Recent requests: a list that holds still while somebody reads in it, and shows what fits the filter.

import { block, waterfall, why } from "./decision.js";
import { $, clock, el, span, whose } from "./dom.js";

const KEPT = 200; // rows

let newest = 0; // number of the latest request that was heard of
let rows = []; // in the list, the newest first
let waiting = []; // heard of while the list holds still, the newest first
let paused = false;

export const latest = () => newest;

export function arrive(heard) {
  for (const told of heard) {
    if (told.number <= newest) continue;
    newest = told.number;
    waiting.unshift(told);
  }
  waiting.length = Math.min(waiting.length, KEPT);
  if (!paused && !$("recent").querySelector("details[open]")) take();
  tell();
}

function take() {
  const added = waiting.map((told) => ({ told, text: searchable(told), node: row(told) }));
  waiting = [];
  rows = [...added, ...rows];
  for (const dropped of rows.splice(KEPT)) dropped.node.remove();
  $("recent").prepend(...added.map((each) => each.node));
  offerTasks();
  filter();
}

function tell() {
  $("newer").hidden = !waiting.length;
  $("newer").textContent = waiting.length === 1 ? "1 newer request" : `${waiting.length} newer requests`;
  const shown = rows.filter((each) => !each.node.hidden).length;
  $("recent-count").textContent = shown === rows.length ? "" : `${shown} of ${rows.length}`;
  $("recent-empty").hidden = shown > 0;
  $("recent-empty").textContent = rows.length ? "None of them fits the filter." : "No request has ended yet. The playground below sends one.";
}

// The filter

const value = (id) => $(id).value;

function filter() {
  const words = value("filter-text").toLowerCase().split(/\s+/).filter(Boolean);
  for (const { told, text, node } of rows) {
    node.hidden = !(["", told.task].includes(value("filter-task")) && ["", strategy(told)].includes(value("filter-strategy"))
      && ["", outcome(told)].includes(value("filter-outcome")) && words.every((word) => text.includes(word)));
  }
  rove(rows.find((each) => !each.node.hidden)?.node);
  tell();
}

function offerTasks() {
  const offered = new Set([...$("filter-task").options].map((option) => option.value));
  for (const task of new Set(rows.map((each) => each.told.task))) {
    if (!offered.has(task)) $("filter-task").append(el("option", { value: task }, task));
  }
}

const strategy = (told) => told.strategy_used || told.strategy || "";
const outcome = (told) => (told.error ? "failed" : told.from_cache ? "cached" : told.degraded ? "degraded" : "answered");
const searchable = (told) => JSON.stringify([told.task, told.request_id, told.tenant_id, told.project_id, told.winner, told.prompt, told.content,
  told.said, told.error && told.error.message]).toLowerCase();

// The keyboard: the list is one stop, and arrows move in it

const summaries = () => rows.filter((each) => !each.node.hidden).map((each) => each.node.firstChild);

function rove(node) {
  for (const each of rows) each.node.firstChild.tabIndex = each.node === node ? 0 : -1;
}

function move(event) {
  const all = summaries();
  const at = all.indexOf(event.target);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (at < 0 || to === undefined || !all[to]) return;
  event.preventDefault();
  rove(all[to].parentNode);
  all[to].focus();
}

// A row

function row(told) {
  const details = el("details", {}, el("summary", { class: "line recent" },
    el("time", {}, clock(told.at)),
    el("div", { class: "who" }, told.task, told.prompt ? el("span", { class: "asked" }, told.prompt.slice(0, 200)) : null, el("small", {}, brief(told))),
    badge(told), el("div", { class: "num" }, span(told.duration_ms))));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(el("div", { class: "inside" }, ...inside(told)));
    if (details.open) rove(details);
    else arrive([]);
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

$("newer").addEventListener("click", () => {
  take();
  tell();
  summaries()[0]?.focus();
});
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  $("pause").textContent = paused ? "Go on" : "Pause";
  arrive([]);
});
$("recent").addEventListener("keydown", move);
for (const id of ["filter-text", "filter-task", "filter-strategy", "filter-outcome"]) $(id).addEventListener("input", filter);
