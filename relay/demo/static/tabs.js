// Tabs as the ARIA Authoring Practices have them: arrows, Home and End move, only the chosen one is in the order of Tab.

// list holds the buttons; each names its panel in data-pane. chosen(name, by the user?) is told. Gives { show, current, on }.
export function tabs(list, chosen) {
  const buttons = [...list.querySelectorAll("button[data-pane]")];
  const panel = (button) => document.getElementById(button.dataset.pane);
  let current = (buttons.find((button) => button.hasAttribute("data-first")) ?? buttons[0]).dataset.pane;
  let on = false;

  function draw() {
    for (const button of buttons) {
      const mine = button.dataset.pane === current;
      panel(button).toggleAttribute("data-open", mine);
      if (!on) continue;
      button.setAttribute("aria-selected", mine);
      button.tabIndex = mine ? 0 : -1;
    }
  }

  // Where all panels are in view they are no tabs, and nothing says that they were.
  function turn(to) {
    on = to;
    if (on) list.setAttribute("role", "tablist");
    else list.removeAttribute("role");
    for (const button of buttons) {
      const names = { role: "tab", "aria-controls": button.dataset.pane };
      for (const [name, value] of Object.entries(names)) on ? button.setAttribute(name, value) : button.removeAttribute(name);
      if (!on) button.removeAttribute("aria-selected");
      const its = panel(button);
      its.dataset.label ??= its.getAttribute("aria-labelledby") ?? "";
      if (on) its.setAttribute("role", "tabpanel");
      else its.removeAttribute("role");
      its.setAttribute("aria-labelledby", on || !its.dataset.label ? button.id : its.dataset.label);
    }
    draw();
  }

  function show(name, byUser = false) {
    current = name;
    draw();
    chosen?.(name, byUser);
  }

  const TO = { ArrowRight: (at) => at + 1, ArrowLeft: (at) => at - 1, Home: () => 0, End: () => -1 };
  for (const button of buttons) button.addEventListener("click", () => show(button.dataset.pane, true));
  list.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(document.activeElement);
    if (!on || at < 0 || !(event.key in TO)) return;
    event.preventDefault();
    const next = buttons.at(TO[event.key](at) % buttons.length);
    next.focus();
    show(next.dataset.pane, true);
  });
  turn(true);
  return { show, turn, get current() { return current; } };
}
