// Elements, and values as a person reads them. Whatever comes from models, clients or files is text: it goes in by
// textContent, never as markup.

const drawn = new Map(); // what each part shows, so that nothing is redrawn (and loses focus) without a change

export const $ = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, call] of Object.entries(value)) node.addEventListener(event, call);
    else if (name === "place") Object.assign(node.style, value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

export function draw(id, value, make) {
  const said = JSON.stringify(value);
  if (drawn.get(id) === said) return;
  drawn.set(id, said);
  $(id).replaceChildren(...[make(value)].flat().filter(Boolean));
}

export const known = (value, show) => (value === null || value === undefined ? "–" : show(value));
export const percent = (share) => `${Math.round(share * 100)} %`;
export const span = (ms) => {
  if (ms < 995) return `${ms < 10 ? Math.round(ms * 10) / 10 : Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 100) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} days`;
};
export const clock = (unix) => new Date(unix * 1000).toLocaleTimeString([], { hour12: false });
export const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);
export const whose = (request) => [request.tenant_id, request.project_id, (request.request_id || "").slice(0, 12)].filter(Boolean).join(" / ");
