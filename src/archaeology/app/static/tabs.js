/** Tabs: arrow keys move between them, one panel shows. */

/** @param {HTMLElement} list @param {(id: string) => void} onChange @returns {{show: (id: string|undefined) => void, shown: () => string}} */
export function startTabs(list, onChange) {
  const tabs = /** @type {HTMLElement[]} */ ([...list.querySelectorAll('[role="tab"]')]);
  const panel = (tab) => /** @type {HTMLElement} */ (document.getElementById(tab.getAttribute("aria-controls")));
  const show = (tab) => {
    for (const other of tabs) {
      const isShown = other === tab;
      other.setAttribute("aria-selected", String(isShown));
      other.tabIndex = isShown ? 0 : -1;
      panel(other).hidden = !isShown;
    }
  };
  const shown = () => panel(tabs.find((tab) => tab.getAttribute("aria-selected") === "true")).id;
  list.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (tab) { show(tab); onChange(shown()); }
  });
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const tab = tabs[(to + tabs.length) % tabs.length];
    show(tab);
    tab.focus();
    onChange(shown());
  });
  return { show: (id) => { const tab = tabs.find((one) => panel(one).id === id); if (tab) show(tab); }, shown };
}
