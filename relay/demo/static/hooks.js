// The webhooks that went out: each with its headers, its body, and how to verify it.

import { el, fetched, icon, size, time } from "/static/dom.js";

const TONES = { "message.opened": "opened", "message.link_clicked": "clicked", "thread.replied": "replied", "message.bounce_detected": "bounced" };

function copyable(name, text) {
  const button = el("button", { type: "button", class: "plain small", "aria-label": `Copy: ${name}`, onclick: copy }, icon("copy"), el("span", {}, "Copy"));
  const said = button.querySelector("span");
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = "Copied";
    } catch {
      said.textContent = "Select it and copy";
    }
  }
  return el("div", { class: "copyable" }, el("div", { class: "row" }, el("h4", {}, name), button), el("pre", {}, text));
}

function hook(one) {
  const tone = TONES[one.type] ?? "auto";
  const made = el(
    "details",
    { class: `hook tone-${tone}` },
    el("summary", {}, el("span", { class: "dot" }, icon(tone)), el("span", { class: "what mono" }, one.type), time(one.at), el("span", { class: "about" }, one.recipient)),
    el(
      "div",
      { class: "inside" },
      el("p", { class: "soft small" }, `POST to the endpoint of your program, here one of the demo’s own. It answered 204, so this is not sent again.`),
      el("h3", {}, "Headers"),
      el("dl", { class: "facts" }, one.headers.flatMap(([name, value, signs]) => [el("dt", { class: signs ? "signs" : undefined }, name), el("dd", {}, value)])),
      el("h3", {}, "Body ", el("span", { class: "soft" }, `${size(one.octets)} on one line; `), el("a", { href: one.url, target: "_blank", rel: "noopener" }, "as it was sent")),
      el("pre", {}, one.body),
      el("h3", {}, "Verify it"),
      el("p", { class: "small" }, "Whoever knows the secret can tell that it is ours and unchanged. The signature is over the octets of the body as they came, so check it before anything parses them. These run as they stand, while the demo does:"),
      one.verify.map(([name, text]) => copyable(name, text)),
    ),
  );
  made.dataset.id = one.id;
  return el("li", {}, made);
}

// list: an <ol>; empty: what stands there before the first; came: is told how many are new. Gives what looks for more.
export function hooks({ list, empty, came }) {
  const shown = new Set();
  let newest = "";
  return async function look() {
    const found = (await fetched(`/demo/webhooks?after=${newest}`)).webhooks;
    newest = found[0]?.id ?? newest;
    const fresh = found.filter((one) => !shown.has(one.id));
    for (const one of [...fresh].reverse()) {
      shown.add(one.id);
      list.prepend(hook(one));
    }
    empty.hidden = shown.size > 0;
    if (fresh.length) came(fresh.length);
  };
}
