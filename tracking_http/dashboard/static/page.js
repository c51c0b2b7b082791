// The live page of the service.

import { Live } from "./live.js";

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
