// The demo's page: a form that sends, an inbox that shows, and the live page beside them.

import { el, fetched, icon, size, time } from "/static/dom.js";
import { Live } from "/static/live.js";
import { hooks } from "/demo/static/hooks.js";
import { keys } from "/demo/static/keys.js";
import { source } from "/demo/static/source.js";
import { tabs } from "/demo/static/tabs.js";

const by = (id) => document.getElementById(id);
const POLL = 3000; // milliseconds; what the relay reports is looked at once it comes

// -- panes, where there is room for one only ------------------------------------------------------------------

const narrow = matchMedia("(max-width: 1099px)");
const panes = tabs(by("panes"), (name) => { if (name === "side") count("news", (news = 0)); });
panes.turn(narrow.matches);
narrow.addEventListener("change", () => panes.turn(narrow.matches));
let news = 0;
let hooked = 0;

// Where what had the focus is gone, it goes to what took its place.
const focus = (element) => element?.focus({ preventScroll: false });

function count(id, number) {
  by(id).hidden = number === 0;
  by(id).textContent = number;
}

// -- write --------------------------------------------------------------------------------------------------------

const draft = by("draft");

function seen(preview) {
  by("preview").hidden = !preview;
  by("html").hidden = preview;
  by("as-seen").setAttribute("aria-pressed", preview);
  by("as-html").setAttribute("aria-pressed", !preview);
  if (!preview) return;
  const form = by("preview-form");
  form.elements.html.value = by("html").value;
  form.submit();
}

by("as-seen").addEventListener("click", () => seen(true));
by("as-html").addEventListener("click", () => seen(false));
seen(true);

function tracked() {
  return [...draft.elements.track].filter((box) => box.checked).map((box) => box.value);
}

function asked() {
  const on = tracked();
  const line = (name, value) => `X-Track-${name}: ${on.includes(value) ? "yes" : "no"}`;
  by("asked").textContent = [line("Opens", "opens"), line("Links", "links"), line("Thread-Replies", "thread_replies")].join("\n");
}

for (const box of draft.elements.track) box.addEventListener("change", asked);
asked();

async function posted(url, fields) {
  const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(fields) });
  const text = await answer.text();
  try {
    return JSON.parse(text);
  } catch {
    return { sent: false, reply: text.slice(0, 300) || answer.statusText };
  }
}

by("html").addEventListener("keydown", (event) => sends(event) && draft.requestSubmit());

function sends(event) {
  return event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing;
}

draft.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { elements } = draft;
  const output = by("answer");
  by("send").disabled = true;
  output.className = "small";
  output.textContent = "Sending";
  try {
    const answer = await posted("/demo/send", {
      from: elements.from.value,
      to: elements.to.value,
      subject: elements.subject.value,
      html: elements.html.value,
      track: tracked(),
    });
    output.className = `small ${answer.sent ? "good" : "bad"}`;
    output.textContent = answer.sent ? `Sent. The relay said: ${answer.reply}` : answer.reply;
    look();
  } catch {
    output.className = "small bad";
    output.textContent = "The demo does not answer. Is it still running?";
  } finally {
    by("send").disabled = false;
  }
});

// -- the inbox ------------------------------------------------------------------------------------------------------

const shown = new Map(); // id -> its line
let reading = "";
let way = "html";
let looking = false;

async function look() {
  if (looking) return;
  looking = true;
  try {
    const found = (await fetched("/demo/inbox")).messages;
    const same = found.length === shown.size && found.every((one) => { const old = shown.get(one.id); return old && old.seen === one.seen && old.answered === one.answered; });
    if (!same) list(found);
  } catch {
    // The status says already that nothing answers.
  } finally {
    looking = false;
  }
}

function list(found) {
  const focused = document.activeElement?.closest?.("#inbox-list li")?.dataset.id;
  const fresh = new Set(found.map((one) => one.id).filter((id) => shown.size && !shown.has(id)));
  shown.clear();
  for (const one of found) shown.set(one.id, one);
  by("inbox-list").replaceChildren(...found.map((one) => row(one, fresh.has(one.id))));
  by("no-messages").hidden = found.length > 0;
  sift();
  count("unread", found.filter((one) => !one.seen).length);
  if (focused) by("inbox-list").querySelector(`li[data-id="${focused}"] button`)?.focus();
}

// What is searched for is in what the list shows.
function sift() {
  const words = by("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0;
  for (const line of by("inbox-list").children) {
    const { from, subject, for: to } = shown.get(line.dataset.id);
    const text = [from, subject, ...to].join("\n").toLowerCase();
    line.hidden = !words.every((word) => text.includes(word));
    left += !line.hidden;
  }
  by("none-found").hidden = left > 0 || shown.size === 0;
}

by("search").addEventListener("input", sift);
by("search").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" && event.key !== "ArrowDown") return;
  event.preventDefault();
  focus(by("inbox-list").querySelector("li:not([hidden]) button"));
});

function row(one, fresh) {
  const made = el(
    "li",
    { class: one.seen ? "" : `new${fresh ? " fresh" : ""}` },
    el(
      "button",
      { class: "message", type: "button", "aria-current": one.id === reading ? "true" : undefined, onclick: () => read(one.id) },
      one.seen ? el("span") : el("span", { class: "unseen-dot" }, el("span", { class: "unseen" }, "Unread")),
      el("span", { class: "subject" }, one.subject || "(no subject)"),
      time(one.at),
      el("span", { class: "who" }, `${one.from} to ${one.for.join(", ")}${one.answered ? " (answered)" : ""}`),
    ),
  );
  made.dataset.id = one.id;
  return made;
}

async function read(id) {
  const left = reading;
  reading = id;
  way = "html";
  by("inbox").toggleAttribute("data-reading", Boolean(id));
  by("message").hidden = !id;
  heads();
  for (const each of by("inbox-list").querySelectorAll("button")) each.toggleAttribute("aria-current", false);
  if (!id) {
    by("message").replaceChildren();
    return focus(by("inbox-list").querySelector(`li[data-id="${left}"]:not([hidden]) button`) ?? by("inbox-title"));
  }
  if (narrow.matches) focus(by("to-list"));
  by("inbox-list").querySelector(`li[data-id="${id}"] button`)?.setAttribute("aria-current", "true");
  try {
    const found = await fetched(`/demo/inbox/${id}`);
    if (reading === id) open(found);
  } catch (problem) {
    by("message").replaceChildren(el("p", { class: "empty" }, problem.message));
  }
  look();
}

by("to-list").addEventListener("click", () => read(""));
narrow.addEventListener("change", heads);

// Where there is room for the message only, the way back stands in place of the list's title.
function heads() {
  const only = Boolean(reading && narrow.matches);
  by("to-list").hidden = !only;
  by("search").hidden = only;
  by("inbox-title").classList.toggle("unseen", only);
}

by("images").addEventListener("change", () => reading && by("message").querySelector("iframe") && read(reading));

const WAYS = [["html", "Message"], ["text", "Plain text"], ["headers", "Headers"], ["source", "Source"]];

function open(message) {
  const sheet = el("div", { class: "sheet", role: "group" });
  const buttons = WAYS.map(([name, label]) => el("button", { type: "button", "aria-pressed": "false", onclick: () => turn(name) }, label));
  function turn(name) {
    way = name;
    WAYS.forEach(([each], index) => buttons[index].setAttribute("aria-pressed", each === name));
    sheet.className = name === "html" ? "sheet" : "sheet own";
    sheet.setAttribute("aria-label", WAYS.find(([each]) => each === name)[1]);
    if (name === "html") sheet.removeAttribute("tabindex"); // its document scrolls by itself
    else sheet.tabIndex = 0;
    sheet.replaceChildren(content(message, name));
  }
  const answer = el("div", {});
  const top = el(
    "div",
    { class: "top" },
    el("h3", {}, message.shown.subject || "(no subject)"),
    el("p", {}, message.shown.from || "(nobody)"),
    el("p", {}, `To ${message.shown.to || "undisclosed recipients"}${message.shown.cc ? `, copy to ${message.shown.cc}` : ""}; this copy is for ${message.for.join(", ")}`),
  );
  const tools = el(
    "div",
    { class: "tools" },
    el("div", { class: "switch", role: "group", "aria-label": "Show" }, buttons),
    el("button", { type: "button", class: "primary end", id: "reply", onclick: () => answering(message, answer) }, icon("replied"), "Reply"),
  );
  by("message").replaceChildren(top, tools, sheet, attachments(message), answer);
  turn("html");
}

function content(message, name) {
  if (name === "html") {
    const images = by("images").checked ? "" : "?images=0";
    return el("iframe", { title: `Message: ${message.subject}`, sandbox: "allow-popups allow-popups-to-escape-sandbox", referrerpolicy: "no-referrer", src: `/demo/inbox/${message.id}/body${images}` });
  }
  if (name === "text") return el("pre", {}, (message.derived ? "(This message has no plain text; this is its HTML as text.)\n\n" : "") + message.text);
  if (name === "headers") return el("dl", { class: "facts" }, message.headers.flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, value)]));
  return source(message);
}

function attachments(message) {
  if (!message.attachments.length) return "";
  return el(
    "div",
    { class: "attachments" },
    message.attachments.map((one) => el("a", { class: "button", href: `/demo/inbox/${message.id}/parts/${one.index}`, download: one.name }, icon("clip"), `${one.name} `, el("span", { class: "soft" }, size(one.size)))),
  );
}

const begun = new Map(); // id -> an answer that was not sent

function answering(message, place) {
  const words = el("textarea", { "aria-label": "Your answer", rows: 3 });
  words.value = begun.get(message.id) ?? "Yes please! See you on Friday.";
  words.addEventListener("input", () => begun.set(message.id, words.value));
  words.addEventListener("keydown", (event) => sends(event) && send(false));
  const said = el("output", { class: "small soft" });
  async function send(automatic) {
    said.textContent = "Sending";
    try {
      const answer = await posted(`/demo/inbox/${message.id}/reply`, { text: automatic ? "I am away until Monday." : words.value, automatic });
      said.textContent = answer.reply;
      if (answer.sent && !automatic) {
        begun.delete(message.id);
        place.replaceChildren(el("p", { class: "answering small soft", role: "status" }, "Sent. The relay finds it in the sender’s mailbox within a second or two."));
        focus(by("reply"));
      }
      look();
    } catch {
      said.textContent = "The demo does not answer.";
    }
  }
  place.replaceChildren(
    el(
      "form",
      { class: "answering", onsubmit: (event) => { event.preventDefault(); send(false); } },
      words,
      el(
        "div",
        { class: "row" },
        el("button", { class: "primary" }, "Send the reply"),
        el("button", { type: "button", onclick: () => send(true), title: "An automatic answer does not count as a reply" }, "Out of office"),
        el("button", { type: "button", class: "plain", id: "cancel", onclick: () => { place.replaceChildren(); focus(by("reply")); } }, "Cancel"),
        said,
      ),
    ),
  );
  words.focus();
  words.select();
}

// -- live -----------------------------------------------------------------------------------------------------------

const more = hooks({
  list: by("hook-list"),
  empty: by("no-hooks"),
  came(number) {
    hooked = side.current === "hooks" ? 0 : hooked + number;
    count("hooked", hooked);
  },
});

const side = tabs(by("side-tabs"), (name) => {
  if (name === "hooks") count("hooked", (hooked = 0));
  backs();
});

// The way back is from a message of the live page, so it stands beside that only.
function backs() {
  by("back").classList.toggle("gone", side.current !== "live");
}

const live = new Live({
  messages: by("messages"),
  empty: by("empty"),
  activity: by("activity"),
  detail: by("detail"),
  back: by("back"),
  title: by("side-title"),
  status: by("status"),
  announce: by("announce"),
  overview: by("overview"),
  divider: by("activity-title"),
  changed() {
    look();
    hear();
    news = panes.current === "side" ? 0 : news + 1;
    count("news", news);
  },
});

async function hear() {
  try {
    await more();
  } catch {
    // The status says already that nothing answers.
  }
}

live.start();
look();
hear();
setInterval(() => document.hidden || (look(), hear()), POLL);

// -- keys -----------------------------------------------------------------------------------------------------------

const LISTS = [["hooks", "#hook-list summary"], ["overview", "#messages a.message"], ["inbox", "#inbox-list li:not([hidden]) button"]];

// To the next or previous line of the list that has the focus, else of the inbox. What is being read gives way to it.
function step(by_) {
  const within = LISTS.find(([place]) => by(place).contains(document.activeElement))?.[0] ?? "inbox";
  const lines = [...document.querySelectorAll(LISTS.find(([place]) => place === within)[1])];
  if (!lines.length) return false;
  if (within === "inbox" && narrow.matches && panes.current !== "inbox") panes.show("inbox");
  const at = lines.findIndex((line) => line === document.activeElement || (within === "inbox" && reading && line.parentElement.dataset.id === reading));
  const line = lines[at < 0 ? (by_ > 0 ? 0 : lines.length - 1) : Math.max(0, Math.min(lines.length - 1, at + by_))];
  focus(line);
  if (within === "inbox" && reading && line.parentElement.dataset.id !== reading) read(line.parentElement.dataset.id);
  return true;
}

function open_pane(name) {
  if (narrow.matches) panes.show(name);
}

function back() {
  const here = document.activeElement;
  if (here === by("search")) {
    by("search").value = "";
    sift();
    focus(by("inbox-list").querySelector("li:not([hidden]) button") ?? by("inbox-title"));
  } else if (by("side").contains(here) && side.current === "live" && !by("back").hidden) by("back").click();
  else if (by("compose").contains(here)) return false;
  else if (by("cancel")) by("cancel").click();
  else if (reading) read("");
  else return false;
  return true;
}

keys(
  {
    j: () => step(1),
    k: () => step(-1),
    "/": () => { open_pane("inbox"); if (!by("to-list").hidden) read(""); focus(by("search")); by("search").select(); },
    c: () => { open_pane("compose"); focus(draft.elements.to); draft.elements.to.select(); },
    r: () => { if (!reading) return false; open_pane("inbox"); by("reply")?.click(); },
    Escape: back,
  },
  { dialog: by("keys"), opener: by("keys-open"), box: by("keys-on") },
);
