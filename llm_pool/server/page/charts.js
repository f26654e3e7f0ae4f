// The last hour, minute by minute, as charts with axes.

import { call } from "./api.js";
import { $, draw, el, span } from "./dom.js";

const EVERY = 15000; // milliseconds between two looks
const SVG = "http://www.w3.org/2000/svg";
const WIDE = 340, HIGH = 132, LEFT = 44, RIGHT = 6, TOP = 8, BOTTOM = 20; // of a chart

let looked = 0;

export async function hour() {
  if (Date.now() - looked < EVERY) return;
  looked = Date.now();
  const { minutes } = await (await call("/v1/hour")).json();
  $("hour-section").hidden = false;
  draw("hour", minutes, charts);
}

function charts(minutes) {
  if (!minutes.some((minute) => minute.answered || minute.cached || minute.failed || minute.completion_tokens)) {
    return el("p", { class: "panel muted" }, "Nothing was asked in the last hour.");
  }
  const of = (name) => minutes.map((minute) => minute[name]);
  const winners = [...new Set(minutes.flatMap((minute) => Object.keys(minute.wins)))].sort();
  const total = (name) => of(name).reduce((sum, value) => sum + value, 0);
  const requests = [["answered", "one"], ["cached", "two"], ["failed", "bad"]].map(([name, tone]) => ({ name, tone, values: of(name) }));
  return [
    chart("Requests a minute", `${count(total("answered") + total("cached") + total("failed"))} in the hour, ${count(total("failed"))} failed`,
      bars, requests, minutes, count),
    chart("Time to the answer", "of each minute's requests", lines,
      [{ name: "p50", tone: "one", values: of("p50_ms") }, { name: "p95", tone: "three", values: of("p95_ms") }], minutes, span),
    chart("Tokens a second", "while an answer is written", lines, [{ name: "", tone: "one", values: of("tokens_per_second") }], minutes, count),
    chart("Wins a minute", "answers, by the provider they are of", bars,
      winners.map((name, at) => ({ name, tone: TONES[at % TONES.length], values: minutes.map((minute) => minute.wins[name] || 0) })), minutes, count),
    chart("Tokens a minute", `${count(total("prompt_tokens"))} read and ${count(total("completion_tokens"))} written, by all who were asked`, bars,
      [{ name: "written", tone: "one", values: of("completion_tokens") }, { name: "read", tone: "two", values: of("prompt_tokens") }], minutes, count),
  ];
}

const TONES = ["one", "three", "four", "two", "five", "six"];
const count = (value) => (value >= 10000 ? `${Math.round(value / 1000)}k` : value >= 1000 ? `${Math.round(value / 100) / 10}k` : String(Math.round(value * 10) / 10));

function chart(title, about, shapes, series, minutes, show) {
  const picture = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `${title}, the last hour: ${about}` });
  const top = ceiling(shapes.top(series));
  const y = (value) => TOP + (HIGH - TOP - BOTTOM) * (1 - value / top);
  for (const value of [0, top / 2, top]) {
    picture.append(svg("line", { class: "grid", x1: LEFT, x2: WIDE - RIGHT, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, show(value)));
  }
  const step = (WIDE - LEFT - RIGHT) / minutes.length;
  minutes.forEach((minute, at) => {
    if ((minute.at / 60) % 15) return;
    const x = LEFT + step * (at + 0.5);
    picture.append(svg("line", { class: "grid", x1: x, x2: x, y1: HIGH - BOTTOM, y2: HIGH - BOTTOM + 4 }),
      svg("text", { x: Math.min(x, WIDE - 18), y: HIGH - 4, "text-anchor": "middle" }, time(minute)));
  });
  picture.append(...shapes.of(series, minutes, (at) => LEFT + step * at, step, y, show));
  const legend = series.filter((each) => each.name).map((each) => el("span", {}, el("i", { class: `swatch ${each.tone}` }), each.name));
  return el("figure", { class: "panel chart" }, el("figcaption", {}, el("h3", {}, title), el("small", {}, about)), picture,
    legend.length ? el("p", { class: "legend" }, ...legend) : null);
}

const bars = {
  top: (series) => Math.max(...(series[0] || { values: [0] }).values.map((_, at) => series.reduce((sum, each) => sum + each.values[at], 0))),
  of: (series, minutes, x, step, y, show) => minutes.flatMap((minute, at) => {
    let below = 0;
    return series.filter((each) => each.values[at] > 0).map((each) => {
      const base = below;
      below += each.values[at];
      return svg("rect", { class: each.tone, x: x(at) + 0.4, width: step - 0.8, y: y(below), height: y(base) - y(below) },
        svg("title", {}, `${time(minute)} ${each.name} ${show(each.values[at])}`));
    });
  }),
};

const lines = {
  top: (series) => Math.max(0, ...series.flatMap((each) => each.values.filter((value) => value !== null))),
  of: (series, minutes, x, step, y, show) => series.flatMap((each) => {
    const points = each.values.map((value, at) => (value === null ? null : [x(at) + step / 2, y(value)]));
    const path = points.map((point, at) => (point ? `${points[at - 1] ? "L" : "M"}${point[0].toFixed(1)} ${point[1].toFixed(1)}` : "")).join("");
    const dots = points.map((point, at) => point && svg("circle", { class: each.tone, cx: point[0], cy: point[1], r: 2 },
      svg("title", {}, `${time(minutes[at])} ${each.name} ${show(each.values[at])}`)));
    return [svg("path", { class: `line ${each.tone}`, d: path }), ...dots.filter(Boolean)];
  }),
};

// The next of 1, 2, 5, 10, 20, ... that is no less than value: the top of an axis, and half of it a number to read.
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return power * [1, 2, 4, 10].find((step) => step * power >= value);
}

const time = (minute) => new Date(minute.at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
