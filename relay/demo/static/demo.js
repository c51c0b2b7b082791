// The demo's page: a form that sends, an inbox that shows, and the live page beside them.

import { el, fetched, icon, size, time } from "/static/dom.js";
import { Live } from "/static/live.js";

const by = (id) => document.getElementById(id);
const POLL = 3000; // milliseconds; what the relay reports is looked at once it comes

// -- panes, where there is room for one only ------------------------------------------------------------------

const tabs = [...document.querySelectorAll(".tabs button")];

function show(name) {
  for (const tab of tabs) {
    if (tab.dataset.pane === name) tab.setAttribute("aria-current", "true");
    else tab.removeAttribute("aria-current");
    by(tab.dataset.pane).toggleAttribute("data-open", tab.dataset.pane === name);
  }
  if (name === "side") count("news", 0);
}

function count(id, number) {
  by(id).hidden = number === 0;
  by(id).textContent = number;
}

for (const tab of tabs) tab.addEventListener("click", () => show(tab.dataset.pane));

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
  count("unread", found.filter((one) => !one.seen).length);
  if (focused) by("inbox-list").querySelector(`li[data-id="${focused}"] button`)?.focus();
}

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
  reading = id;
  way = "html";
  by("inbox").toggleAttribute("data-reading", Boolean(id));
  by("message").hidden = !id;
  by("to-list").hidden = !(id && matchMedia("(max-width: 1099px)").matches);
  by("inbox-title").hidden = !by("to-list").hidden;
  for (const each of by("inbox-list").querySelectorAll("button")) each.toggleAttribute("aria-current", false);
  if (!id) return by("message").replaceChildren();
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
by("images").addEventListener("change", () => reading && by("message").querySelector("iframe") && read(reading));

const WAYS = [["html", "Message"], ["text", "Plain text"], ["headers", "Headers"], ["source", "Source"]];

function open(message) {
  const sheet = el("div", { class: "sheet" });
  const buttons = WAYS.map(([name, label]) => el("button", { type: "button", "aria-pressed": "false", onclick: () => turn(name) }, label));
  function turn(name) {
    way = name;
    WAYS.forEach(([each], index) => buttons[index].setAttribute("aria-pressed", each === name));
    sheet.className = name === "html" ? "sheet" : "sheet own";
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
  const pre = el("pre", { class: "small" }, "Loading");
  fetch(`/demo/inbox/${message.id}/source`).then(async (answer) => { pre.textContent = await answer.text(); }, () => { pre.textContent = "Not available."; });
  return pre;
}

function attachments(message) {
  if (!message.attachments.length) return "";
  return el(
    "div",
    { class: "attachments" },
    message.attachments.map((one) => el("a", { class: "button", href: `/demo/inbox/${message.id}/parts/${one.index}`, download: one.name }, icon("clip"), `${one.name} `, el("span", { class: "soft" }, size(one.size)))),
  );
}

function answering(message, place) {
  const words = el("textarea", { "aria-label": "Your answer", rows: 3 });
  words.value = "Yes please! See you on Friday.";
  const said = el("output", { class: "small soft" });
  async function send(automatic) {
    said.textContent = "Sending";
    try {
      const answer = await posted(`/demo/inbox/${message.id}/reply`, { text: automatic ? "I am away until Monday." : words.value, automatic });
      said.textContent = answer.reply;
      if (answer.sent && !automatic) place.replaceChildren(el("p", { class: "answering small soft", role: "status" }, "Sent. The relay finds it in the sender’s mailbox within a second or two."));
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
        el("button", { type: "button", class: "plain", onclick: () => { place.replaceChildren(); by("reply").focus(); } }, "Cancel"),
        said,
      ),
    ),
  );
  words.focus();
  words.select();
}

// -- live -----------------------------------------------------------------------------------------------------------

let news = 0;
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
    if (!by("side").hasAttribute("data-open")) count("news", ++news);
    else news = 0;
  },
});
live.start();
look();
setInterval(() => document.hidden || look(), POLL);
