// Messages and what becomes of them, as it happens. The page gives the elements; all of them are optional.

import { el, fetched, half, icon, size, time } from "./dom.js";

const LISTED = 300; // messages kept in the list
const SHOWN = 120; // lines kept in the activity

const TONES = {
  "message.opened": "opened",
  "message.link_clicked": "clicked",
  "thread.replied": "replied",
  "message.bounce_detected": "bounced",
  "message.complained": "bounced",
  "message.failed": "bounced",
  "message.delayed": "waiting",
  "message.auto_replied": "auto",
  "message.delivered": "delivered",
  "message.sent": "sent",
};
const MACHINES = ["prefetch", "scanner", "crawler"];

// What is new glows once; not again when it is hidden and shown.
function glowing(element, fresh) {
  if (fresh) {
    element.classList.add("fresh");
    setTimeout(() => element.classList.remove("fresh"), 2000);
  }
  return element;
}

function chip(state, fresh) {
  const made = el("li", { class: `chip tone-${state.name}`, title: state.title }, icon(state.name), el("span", {}, state.text));
  return glowing(made, fresh);
}

function recipients(message) {
  const named = message.to.join(", ") || "nobody";
  return message.recipients > message.to.length ? `${named} and ${message.recipients - message.to.length} more` : named;
}

function line(event, subject, fresh) {
  const machine = MACHINES.includes(event.verdict);
  const tone = machine ? "machine" : TONES[event.type] || "auto";
  const about = el("div", { class: "about" });
  if (subject !== undefined) about.append(el("a", { class: "of", href: `#${event.id}` }, el("b", {}, subject || "(no subject)")), el("br"));
  if (event.recipient) about.append(event.recipient, " ");
  if (event.verdict && event.verdict !== "unknown") about.append(el("span", { class: "verdict", title: event.who }, event.who));
  if (event.url) about.append(el("div", { class: "mono" }, event.url));
  if (event.reason) about.append(el("div", {}, event.reason));
  if (event.note && !event.reason.includes(event.note)) about.append(el("div", {}, event.note));
  if (event.user_agent && subject === undefined) about.append(el("div", { class: "small" }, [event.ip, event.user_agent].filter(Boolean).join(" · ")));
  return el(
    "li",
    { class: `tone-${tone}` },
    glowing(el("span", { class: "dot" }, icon(tone)), fresh),
    el("span", { class: "what" }, event.title),
    time(event.at),
    about,
  );
}

export class Live {
  // parts: messages, empty, more, activity, quiet, detail, back, title, status, announce; changed(summary) is told of each message.
  constructor(parts) {
    this.parts = parts;
    this.known = new Map(); // id -> { data, row }
    this.position = ""; // the mark of the newest event that was shown
    this.told = new Set(); // the events that were shown
    this.before = null;
    this.pending = 0;
    this.wait = 1000;
    parts.more?.addEventListener("click", () => this.load(this.before));
    parts.back?.addEventListener("click", () => { history.pushState(null, "", location.pathname); this.choose(); });
    addEventListener("hashchange", () => this.choose());
    addEventListener("popstate", () => this.choose());
    document.addEventListener("visibilitychange", () => (document.hidden ? this.rest() : this.wake()));
  }

  async start() {
    try {
      await this.load();
      this.choose();
      this.connect();
    } catch (problem) {
      this.say("lost", "Not connected");
      clearTimeout(this.again);
      this.again = setTimeout(() => this.start(), this.wait);
      this.wait = Math.min(30000, this.wait * 2);
    }
  }

  async load(before = null) {
    const query = before === null ? "" : `?before=${encodeURIComponent(before)}`;
    const found = await fetched(`/live/messages${query}`);
    for (const message of found.messages) this.put(message, false);
    this.before = found.before;
    if (this.parts.more) this.parts.more.hidden = found.before === null;
    if (before === null) {
      this.position = found.position;
      this.told = new Set(found.events.map((event) => event.event));
      this.parts.activity?.replaceChildren(...found.events.map((event) => line(event, event.subject ?? this.subject(event.id), false)));
    }
    this.emptiness();
  }

  // -- the stream ---------------------------------------------------------------------------------------------

  connect() {
    this.source?.close();
    const source = new EventSource(`/live/events?after=${encodeURIComponent(this.position)}&half=${encodeURIComponent(half())}`);
    this.source = source;
    source.onopen = () => { this.wait = 1000; this.say("live", "Live"); };
    source.onerror = () => {
      this.say("lost", "Reconnecting");
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      clearTimeout(this.again);
      this.again = setTimeout(() => this.start(), this.wait);
      this.wait = Math.min(30000, this.wait * 2);
    };
    source.addEventListener("message", (frame) => frame.data && this.put(JSON.parse(frame.data), true));
    source.addEventListener("event", (frame) => this.happened(JSON.parse(frame.data), frame.lastEventId));
    source.addEventListener("reset", () => { clearTimeout(this.reread); this.reread = setTimeout(() => this.anew().catch(() => {}), 500); });
  }

  // After a gap, or where the store is another one: what is shown is what the store has now.
  async anew() {
    this.known.clear();
    this.parts.messages?.replaceChildren();
    await this.load();
    if (this.chosen) this.refresh();
  }

  rest() {
    this.source?.close();
    clearTimeout(this.again);
  }

  wake() {
    if (this.source) this.start();
  }

  say(state, text) {
    const status = this.parts.status;
    if (!status || status.dataset.state === state) return;
    status.dataset.state = state;
    status.textContent = text;
  }

  // -- the list -------------------------------------------------------------------------------------------------

  subject(id) {
    return this.known.get(id)?.data.subject ?? "";
  }

  put(message, fresh) {
    const old = this.known.get(message.id);
    const had = new Set(old ? old.data.states.map((s) => s.name) : []);
    const row = this.row(message, (name) => fresh && !had.has(name));
    if (old) old.row.replaceWith(row);
    else this.insert(row, message.at);
    const focused = old?.row.contains(document.activeElement);
    this.known.set(message.id, { data: message, row });
    if (focused) row.querySelector("a").focus();
    if (fresh) {
      this.emptiness();
      this.parts.changed?.(message);
      this.name(message);
      if (this.chosen === message.id) this.refresh();
    }
    this.trim();
  }

  // Lines of the activity that came before their message did get its subject now.
  name(message) {
    for (const of of this.parts.activity?.querySelectorAll("a.of") ?? []) {
      if (of.hash === `#${message.id}`) of.firstChild.textContent = message.subject || "(no subject)";
    }
  }

  insert(row, at) {
    const list = this.parts.messages;
    if (!list) return;
    const next = [...list.children].find((other) => Number(other.dataset.at) < at);
    list.insertBefore(row, next ?? null);
  }

  trim() {
    if (this.known.size <= LISTED || this.before !== null) return;
    const oldest = [...this.known.entries()].sort((a, b) => a[1].data.at - b[1].data.at)[0];
    oldest[1].row.remove();
    this.known.delete(oldest[0]);
  }

  row(message, fresh) {
    const made = el(
      "li",
      {},
      el(
        "a",
        { class: "message", href: `#${message.id}`, "aria-current": this.chosen === message.id ? "true" : undefined },
        el("span", { class: "subject" }, message.subject || "(no subject)"),
        time(message.at),
        el("span", { class: "who" }, `${message.sender || "(nobody)"} → ${recipients(message)}`),
        el("ul", { class: "chips", "aria-label": "What is known" }, message.states.map((state) => chip(state, fresh(state.name)))),
      ),
    );
    made.dataset.at = message.at;
    made.dataset.id = message.id;
    return made;
  }

  emptiness() {
    const { empty, quiet, divider, activity } = this.parts;
    if (empty) empty.hidden = this.known.size > 0;
    if (quiet) quiet.hidden = Boolean(this.chosen) || activity.childElementCount > 0;
    if (divider) divider.hidden = activity.childElementCount === 0;
  }

  // -- what happens ---------------------------------------------------------------------------------------------

  happened(event, mark) {
    if (this.told.has(event.event)) return;
    this.told.add(event.event);
    this.position = mark;
    const subject = event.subject ?? this.subject(event.id);
    const activity = this.parts.activity;
    activity?.prepend(line(event, subject, true));
    while (activity && activity.childElementCount > SHOWN) activity.lastElementChild.remove();
    if (this.parts.announce) this.parts.announce.textContent = [event.title, subject, event.recipient].filter(Boolean).join(", ");
    this.emptiness();
    if (this.chosen === event.id) this.refresh();
  }

  // -- one message ----------------------------------------------------------------------------------------------

  choose() {
    const id = location.hash.slice(1);
    const chosen = /^[a-z0-9]{1,64}$/.test(id) ? id : "";
    if (chosen === this.chosen) return;
    const left = this.chosen;
    this.chosen = chosen;
    for (const [each, { row }] of this.known) {
      const link = row.querySelector("a");
      if (each === chosen) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    const { detail, activity, back, title, overview } = this.parts;
    if (!detail) return;
    detail.hidden = !chosen;
    const behind = overview ?? activity; // what the details take the place of
    const here = document.activeElement;
    const lost = chosen ? behind?.contains(here) : here === back || detail.contains(here); // what has the focus is hidden now
    if (behind) behind.hidden = Boolean(chosen);
    if (back) back.hidden = !chosen;
    title?.classList.toggle("unseen", Boolean(chosen)); // it is still what the details are under
    if (lost) (chosen ? back : (this.known.get(left)?.row.querySelector("a") ?? title))?.focus();
    this.emptiness();
    if (chosen) {
      detail.replaceChildren();
      this.refresh().then(() => { if (matchMedia("(max-width: 899px)").matches) detail.closest("section").scrollIntoView({ block: "start" }); });
    }
  }

  // At most one reading at a time, and one more where something happened meanwhile.
  async refresh() {
    if (this.reading) { this.stale = true; return; }
    this.reading = true;
    try {
      do {
        this.stale = false;
        const id = this.chosen;
        const found = id ? await fetched(`/live/messages/${id}`) : null;
        if (found && this.chosen === id) this.parts.detail.replaceChildren(...details(found));
      } while (this.stale);
    } catch (problem) {
      this.parts.detail.replaceChildren(el("p", { class: "empty" }, String(problem.message)));
    } finally {
      this.reading = false;
    }
  }
}

function details(message) {
  const head = el(
    "section",
    {},
    el("p", { class: "headline" }, message.subject || "(no subject)"),
    el("p", { class: "route" }, `${message.sender || "(nobody)"} → ${recipients(message)}`),
    el("ul", { class: "chips" }, message.states.map((state) => chip(state, false))),
    message.reason ? el("p", { class: "note" }, `Not tracked: ${message.reason}.`) : null,
  );
  const parts = [head];
  parts.push(el("section", {}, el("h3", {}, message.people.length === 1 ? "Recipient" : "Recipients"), el("ul", { class: "rows" }, message.people.map(person))));
  if (message.links.length) parts.push(el("section", {}, el("h3", {}, "Links"), el("ul", { class: "rows" }, message.links.map(link))));
  if (message.left.length) {
    const rows = message.left.map((one) => el("li", {}, el("span", { class: "name mono" }, one.what), el("div", { class: "more" }, one.why)));
    parts.push(el("section", {}, el("h3", {}, "Left as it was"), el("ul", { class: "rows" }, rows)));
  }
  if (message.timeline.length) parts.push(el("section", {}, el("h3", {}, "What happened"), el("ol", { class: "timeline" }, message.timeline.map((event) => line(event, undefined, false)))));
  parts.push(el("section", {}, el("h3", {}, "Message"), facts(message)));
  return parts;
}

const WAYS = { pending: "On its way", done: "Delivered", later: "Waiting, will be tried again", never: "Refused" };

function person(one) {
  const known = [one.opened && ["opened", "Opened at least once"], one.clicked && ["clicked", "Clicked"], one.replied && ["replied", "Replied"]].filter(Boolean);
  return el(
    "li",
    {},
    el("span", { class: "name" }, one.address),
    el("span", { class: "mark" }, WAYS[one.state] ?? one.state),
    known.length ? el("ul", { class: "chips more" }, known.map(([name, text]) => chip({ name, text }, false))) : null,
    one.reason ? el("div", { class: "more" }, `${one.reason}.`) : null,
    one.reply ? el("div", { class: "more mono" }, one.reply) : null,
  );
}

function link(one) {
  const clicks = one.clicks === 0 ? "Not clicked" : one.clicks === 1 ? "1 click" : `${one.clicks} clicks`;
  return el(
    "li",
    {},
    el("span", { class: "name mono" }, one.url),
    el("span", { class: `mark${one.clicks ? " yes" : ""}` }, clicks),
    one.machines ? el("div", { class: "more" }, `Also followed ${one.machines === 1 ? "once" : `${one.machines} times`} by machines or the sender`) : null,
  );
}

function facts(message) {
  const pairs = [
    ["Sent", new Date(message.at * 1000).toLocaleString()],
    ["Tracks", message.asked.join(", ") || "nothing"],
    ["Label", message.label],
    ["Size", size(message.size)],
    ["Login", message.login],
    ["Handed in from", message.peer],
    ["Message-ID", message.internet_message_id],
    ["Our id", message.id],
    ...Object.entries(message.metadata),
  ];
  return el("dl", { class: "facts" }, pairs.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}
