// The live page of the service.

import { fetched } from "./dom.js";
import { Live } from "./live.js";

const EVERY = 30; // seconds between two looks at what is wrong among the nodes

const by = (id) => document.getElementById(id);

new Live({
  messages: by("messages"),
  empty: by("empty"),
  more: by("more"),
  activity: by("activity"),
  quiet: by("quiet"),
  detail: by("detail"),
  back: by("back"),
  title: by("side-title"),
  status: by("status"),
  announce: by("announce"),
}).start();

async function among() {
  try {
    const { troubles } = await fetched("/live/nodes/data");
    const more = troubles.length > 1 ? ` (and ${troubles.length - 1} more)` : "";
    const text = troubles.length ? `${troubles[0]}${more}` : "";
    const link = by("trouble").firstElementChild;
    if (link.textContent !== text) link.textContent = text;
    by("trouble").hidden = !text;
  } catch {
    // The stream says that the service is away.
  }
  setTimeout(among, EVERY * 1000);
}

among();
