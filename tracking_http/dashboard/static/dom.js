// Elements, icons and times. Text goes in as text nodes only: nothing that a message says is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return made;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `/static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

const DAY = 86400;
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const WHOLE = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

export function ago(seconds) {
  const passed = Date.now() / 1000 - seconds;
  if (passed < 45) return "just now";
  if (passed < 3300) return `${Math.max(1, Math.round(passed / 60))} min ago`;
  const then = new Date(seconds * 1000);
  return passed < DAY ? CLOCK.format(then) : DATE.format(then);
}

export function time(seconds) {
  const then = new Date(seconds * 1000);
  const made = el("time", { datetime: then.toISOString(), title: WHOLE.format(then) }, ago(seconds));
  made.dataset.at = seconds;
  return made;
}

// "just now" gets older.
setInterval(() => {
  for (const each of document.querySelectorAll("time[data-at]")) {
    const text = ago(Number(each.dataset.at));
    if (each.textContent !== text) each.textContent = text;
  }
}, 15000);

// The session's other half. The cookie goes to every port of this host; this is kept for ours. The login form gives it.
const given = /^#half=([\w-]+)$/.exec(location.hash);
if (given) {
  localStorage.setItem("half", given[1]);
  history.replaceState(null, "", location.pathname + location.search);
}

export const half = () => localStorage.getItem("half") ?? "";

export async function fetched(url, options = {}) {
  const headers = { Accept: "application/json", "X-Session-Half": half(), ...options.headers };
  const answer = await fetch(url, { ...options, headers });
  if (answer.status === 401) location.assign("/login");
  if (!answer.ok) {
    const text = await answer.text();
    throw new Error(text.slice(0, 300) || `${answer.status} ${answer.statusText}`);
  }
  return answer.json();
}

export function size(octets) {
  if (octets < 1000) return `${octets} bytes`;
  return octets < 1e6 ? `${(octets / 1000).toFixed(octets < 1e4 ? 1 : 0)} kB` : `${(octets / 1e6).toFixed(1)} MB`;
}
