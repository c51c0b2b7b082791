// A message's source, with marks where the relay changed it. The marks come from the server, which has both forms.

import { el, fetched } from "/static/dom.js";

const FORMS = [["readable", "For reading"], ["whole", "Octet by octet"]];

const counted = (number, one, many) => (number === 1 ? `1 ${one}` : `${number} ${many}`);

function run([mark, text]) {
  if (mark === "added") return el("ins", {}, text);
  if (mark === "removed") return el("del", {}, text);
  return text;
}

function section([title, note, runs]) {
  const head = title || note ? el("h4", {}, title, title && note ? " " : "", el("span", { class: "soft" }, note)) : null;
  return el("section", {}, head, runs ? el("pre", {}, runs.map(run)) : null);
}

function told(found) {
  if (!found.known) return "This message did not come from the relay, or was changed after it. So it is shown without marks.";
  const parts = [];
  if (found.added.length) parts.push(`put in ${counted(found.added.length, "header field", "header fields")} (${found.added.join(", ")})`);
  if (found.removed.length) parts.push(`took out ${counted(found.removed.length, "header field", "header fields")} (${found.removed.join(", ")})`);
  if (found.links) parts.push(`changed ${counted(found.links, "link", "links")}`);
  if (found.pixels) parts.push("placed the pixel");
  const last = parts.pop();
  return last ? `The relay ${parts.length ? `${parts.join(", ")} and ` : ""}${last}. Everything else is as it came, octet by octet.` : "The relay changed nothing.";
}

// The element, filled once the server has answered.
export function source(message) {
  const box = el("div", { class: "source" }, el("p", { class: "soft small" }, "Loading"));
  fetched(`/demo/inbox/${message.id}/changes`).then(
    (found) => {
      const body = el("div", {});
      const buttons = FORMS.map(([name, label]) => el("button", { type: "button", "aria-pressed": "false", onclick: () => turn(name) }, label));
      function turn(form) {
        FORMS.forEach(([name], at) => buttons[at].setAttribute("aria-pressed", name === form));
        body.replaceChildren(...found[form].map(section));
      }
      box.replaceChildren(
        el("p", { class: "told" }, told(found)),
        el(
          "div",
          { class: "legend" },
          found.known ? el("p", { class: "small" }, el("ins", {}, "put in"), " ", el("del", {}, "taken out")) : null,
          el("div", { class: "switch", role: "group", "aria-label": "Show the source" }, buttons),
          el("a", { class: "small", href: `/demo/inbox/${message.id}/source`, target: "_blank", rel: "noopener" }, "Without marks"),
        ),
        body,
      );
      turn("readable");
    },
    (problem) => box.replaceChildren(el("p", {}, problem.message)),
  );
  return box;
}
