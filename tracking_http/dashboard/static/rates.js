// The table of rates by day and label.

import { el, fetched } from "./dom.js";

const by = (id) => document.getElementById(id);
const NUMBER = new Intl.NumberFormat();
const PERCENT = new Intl.NumberFormat(undefined, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const DATE = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", year: "numeric" });

function number(value) {
  return el("td", { class: value ? "number" : "number soft" }, NUMBER.format(value));
}

function rate(value, percent) {
  return el("td", { class: value ? "number" : "number soft" }, NUMBER.format(value), el("span", { class: "soft" }, ` ${PERCENT.format(percent / 100)}`));
}

function row(one, day, label) {
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, day),
    el("td", { class: one.label ? "label" : "label soft" }, label),
    number(one.sent),
    number(one.delivered),
    rate(one.opened, one.open_rate),
    rate(one.clicked, one.click_rate),
    number(one.replies),
    number(one.bounced),
    number(one.failed),
    number(one.machine_opens),
    number(one.machine_clicks),
  );
}

async function show() {
  const offset = Math.floor(-new Date().getTimezoneOffset() / 60); // days of this browser, in whole hours
  try {
    const found = await fetched(`/live/rates/data?days=${by("days").value}&offset=${offset}`);
    by("rows").replaceChildren(...found.rows.map((one) => row(one, DATE.format(new Date(one.at * 1000)), one.label || "no label")));
    by("sum").replaceChildren(...(found.rows.length ? [row(found.sum, "All", "")] : []));
    const said = ["Opened and clicked: recipients of whom a person did so, each once per message, on the day of the first time; in percent of delivered mail. Sent, delivered and refused count recipients. Machines such as scanners stand apart, and each of their hits counts."];
    if (!found.rows.length) said.unshift("No mail in these days.");
    if (found.cut) said.unshift("Only a part is shown: there are too many labels.");
    if (found.counting) said.unshift("Older mail is still being counted.");
    by("say").textContent = said.join(" ");
  } catch (problem) {
    by("say").textContent = String(problem.message);
  }
}

by("days").addEventListener("change", show);
show();
