// The keys of the page: as in a mail client, and not while somebody types.

const STORED = "keys";

export const on = () => localStorage.getItem(STORED) !== "off";

export function types(element) {
  if (!element) return false;
  if (element.isContentEditable || element.tagName === "TEXTAREA" || element.tagName === "SELECT") return true;
  return element.tagName === "INPUT" && !["checkbox", "radio", "button", "submit"].includes(element.type);
}

// actions: what each key does, by event.key; Escape is told of everywhere. box: the switch that turns single keys off (WCAG 2.1.4).
export function keys(actions, { dialog, opener, box }) {
  box.checked = on();
  box.addEventListener("change", () => localStorage.setItem(STORED, box.checked ? "on" : "off"));
  opener.addEventListener("click", () => dialog.showModal());
  const every = { ...actions, "?": () => dialog.showModal() };
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    if (event.key !== "Escape" && (types(event.target) || !on())) return;
    if (!Object.hasOwn(every, event.key)) return;
    if (every[event.key](event) !== false) event.preventDefault();
  });
}
