// The table of nodes: who runs where, and what is wrong among them.

import { el, fetched } from "./dom.js";

const EVERY = 10; // seconds between two looks, as between two signs of life of a node
const by = (id) => document.getElementById(id);
const NUMBER = new Intl.NumberFormat();
const TONES = { running: "tone-opened", gone: "tone-bounced", stopped: "" };

function row(node) {
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, node.name),
    el("td", {}, node.roles.join(", ")),
    el("td", {}, el("span", { class: `chip ${TONES[node.state]}` }, el("span", {}, node.state))),
    el("td", { class: "soft" }, `${node.heard} ago`),
    el("td", {}, node.version),
    el("td", { class: node.queue ? "number" : "number soft" }, NUMBER.format(node.queue)),
    el("td", { class: "number" }, node.queue ? node.oldest : ""),
    el("td", {}, node.keys.join(", "), node.signs === null ? null : el("span", { class: "soft" }, ` · signs with ${node.signs}`)),
  );
}

// What stands there already is left alone: it would be read out again.
function replace(list, sentences) {
  const shown = [...list.children].map((item) => item.textContent);
  if (JSON.stringify(shown) !== JSON.stringify(sentences)) list.replaceChildren(...sentences.map((sentence) => el("li", {}, sentence)));
}

async function show() {
  try {
    const { nodes, troubles } = await fetched("/live/nodes/data");
    by("rows").replaceChildren(...nodes.map(row));
    replace(by("troubles"), troubles);
    by("say").textContent = nodes.length > 1 ? "Each says every 10 seconds how it is." : "Nobody else runs with this store.";
  } catch (problem) {
    by("say").textContent = String(problem.message);
  }
  setTimeout(show, EVERY * 1000);
}

show();
