// How an answer came about: who was asked and when, what they said, who won.

import { el, percent, sentence, span } from "./dom.js";

export const block = (title, text) => el("div", {}, el("p", { class: "sub" }, title), el("div", { class: "text quote" }, text));

export function why(decision, said) {
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

export function waterfall(attempts, winner) {
  const end = Math.max(...attempts.map((attempt) => attempt.started_ms + attempt.duration_ms), 1);
  const at = (ms) => `${(100 * ms) / end}%`;
  const rows = attempts.map((attempt) => {
    const first = attempt.ttft_ms === null ? attempt.duration_ms : attempt.ttft_ms;
    const silent = attempt.ttft_ms === null && attempt.outcome !== "ok";
    const bar = (tone, from, to) => (to - from < 1 && tone === "queue" ? null
      : el("div", { class: `bar ${tone}`, place: { left: at(attempt.started_ms + from), width: at(to - from) } }));
    const track = el("div", { class: "track" }, bar("queue", 0, attempt.queued_ms),
      bar(silent ? TONES[attempt.outcome] : "wait", attempt.queued_ms, first),
      attempt.ttft_ms === null ? null : bar(TONES[attempt.outcome], first, attempt.duration_ms));
    const word = attempt.outcome === "ok" ? attempt.why : `${attempt.why}, ${attempt.error_kind || attempt.outcome}`.replaceAll("_", " ");
    return third(el("div", { class: `name ${attempt.provider === winner ? "won" : ""}`, title: attempt.error || attempt.model }, attempt.provider),
      track, span(attempt.duration_ms), word);
  });
  const legend = [["queue", "in our queue"], ["wait", "until the first token"], ["ok", "writing"], ["cancelled", "cancelled"], ["bad", "failed"]];
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
