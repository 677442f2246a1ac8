/** Elements, themes and the style sheet: the few lines that a framework would have been. */

/**
 * An element with properties, attributes and children. Text is always text, never markup.
 *
 * @param {string} tag @param {Record<string, any>} [properties] `on*` are listeners, `dataset` and names with a dash or `role` attributes.
 * @param {...(Node|string|null)} children
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Write a text only where it changed: an unchanged live region stays silent. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let numbered = 0;
/** A name that no other element has. @param {string} word @returns {string} */
export function uniqueName(word) {
  numbered += 1;
  return `aa-${word}-${numbered}`;
}

/** Put the style sheet where the element lives: the page or a shadow root. @param {Element} element @param {string} text */
export function adoptStyle(element, text) {
  const root = element.getRootNode(), holder = "adoptedStyleSheets" in root ? root : document;
  if (!text || holder.adoptedStyleSheets.some((sheet) => sheet.isExplorer === text.length)) return;
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(text);
  sheet.isExplorer = text.length;
  holder.adoptedStyleSheets = [...holder.adoptedStyleSheets, sheet];
}

/** Follow the page's theme: its `data-theme`, its class, or the system's. @returns {() => void} Stops following. */
export function followTheme(choice, apply) {
  const system = matchMedia("(prefers-color-scheme: dark)"), page = document.documentElement;
  const now = () => {
    if (choice === "light" || choice === "dark") return choice;
    const said = page.dataset.theme;
    if (said === "light" || said === "dark") return said;
    if (document.body?.classList.contains("dark")) return "dark";
    return system.matches ? "dark" : "light";
  };
  const update = () => apply(now());
  const observer = new MutationObserver(update);
  observer.observe(page, { attributes: true, attributeFilter: ["data-theme"] });
  if (document.body) observer.observe(document.body, { attributes: true, attributeFilter: ["class"] });
  system.addEventListener("change", update);
  update();
  return () => { observer.disconnect(); system.removeEventListener("change", update); };
}

/** A group of buttons of which one is chosen. @param {string} label @param {[string, string, string?][]} choices value, text, tooltip */
export function makeSwitch(label, choices, onChoose) {
  const buttons = choices.map(([value, text, title = ""]) => make("button", { type: "button", textContent: text, title, value, onclick: () => onChoose(value) }));
  const element = make("div", { className: "aa-switch", role: "group", "aria-label": label }, ...buttons);
  const set = (chosen) => buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.value === chosen)));
  return { element, set, buttons };
}

/** A choice from a list. @param {string} label @param {(value: string) => void} onChoose */
export function makeSelect(label, onChoose) {
  const name = uniqueName("select");
  const select = make("select", { id: name, onchange: () => onChoose(select.value) });
  const element = make("span", { className: "aa-field" }, make("label", { for: name, textContent: label }), select);
  const fill = (options) => {
    const key = JSON.stringify(options);
    if (select.filled === key) return;
    select.filled = key;
    select.replaceChildren(...options.map(([value, text]) => make("option", { value, textContent: text })));
  };
  return { element, select, fill };
}
