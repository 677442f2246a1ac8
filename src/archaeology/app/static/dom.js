/** Small ways to make and find elements; text goes in as text, never as markup. */

/** @param {string} selector @param {ParentNode} [within] @returns {any} */
export function one(selector, within = document) {
  return within.querySelector(selector);
}

/**
 * @param {string} tag @param {Record<string, string|number|boolean|null|undefined>} [attributes] `text` is the text inside
 * @param {...(Node|string|null)} children
 * @returns {any}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = String(value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** The latest of many calls, once they pause. @param {() => void} act @param {number} milliseconds @returns {() => void} */
export function afterPause(act, milliseconds) {
  let timer = 0;
  return () => { clearTimeout(timer); timer = setTimeout(act, milliseconds); };
}

/** Of work that can be started again, only the last goes on. @returns {{start: () => AbortSignal, stop: () => void}} */
export function onlyLast() {
  /** @type {AbortController|null} */
  let running = null;
  const stop = () => { running?.abort(new DOMException("Stopped.", "AbortError")); running = null; };
  return { start: () => { stop(); running = new AbortController(); return running.signal; }, stop };
}

/**
 * Moves the focus among the items of one group with the arrow keys; the group is one stop of the tab key.
 * @param {HTMLElement} box @param {string} selector @param {() => number} columns
 */
export function roving(box, selector, columns) {
  const items = () => /** @type {HTMLElement[]} */ ([...box.querySelectorAll(selector)].filter((item) => !item.hidden));
  box.addEventListener("focusin", (event) => {
    const all = items();
    if (all.includes(event.target)) all.forEach((item) => { item.tabIndex = item === event.target ? 0 : -1; });
  });
  box.addEventListener("keydown", (event) => {
    const all = items();
    const at = all.indexOf(/** @type {HTMLElement} */ (event.target));
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns(), Home: -at, End: all.length - 1 - at };
    if (at < 0 || !(event.key in steps)) return;
    event.preventDefault();
    all[Math.min(all.length - 1, Math.max(0, at + steps[event.key]))].focus();
  });
}

/** How many items stand in the first row of a wrapped list. @param {HTMLElement[]} items @returns {number} */
export function inARow(items) {
  const shown = items.filter((item) => !item.hidden);
  const top = shown[0]?.getBoundingClientRect().top;
  const next = shown.findIndex((item) => item.getBoundingClientRect().top > top + 4);
  return next > 0 ? next : Math.max(1, shown.length);
}
