// The table of webhook endpoints: whose each is, and how it does.

import { el, fetched, time } from "./dom.js";

const by = (id) => document.getElementById(id);
const NUMBER = new Intl.NumberFormat();

function number(value) {
  return el("td", { class: value ? "number" : "number soft" }, NUMBER.format(value));
}

function row(one) {
  return el(
    "tr",
    {},
    el("th", { scope: "row", title: one.id }, one.url, one.description ? el("div", { class: "small soft" }, one.description) : null),
    el("td", {}, one.made_by),
    el("td", { class: one.grant ? "" : "soft" }, one.grant || "all"),
    el("td", {}, one.format),
    el("td", { title: one.state }, one.status),
    el("td", { class: "soft" }, one.since ? time(one.since) : ""),
    number(one.pending),
    number(one.delivered),
    number(one.dead),
  );
}

async function show() {
  try {
    const { endpoints } = await fetched("/live/webhooks/data");
    by("rows").replaceChildren(...endpoints.map(row));
    by("say").textContent = endpoints.length
      ? "Those made by relay.toml are changed there, the others by their API. \u201ctrackrelay webhooks list --dead\u201d shows what was given up."
      : "There are no webhooks. They are made in relay.toml or by API.";
  } catch (problem) {
    by("say").textContent = String(problem.message);
  }
}

show();
