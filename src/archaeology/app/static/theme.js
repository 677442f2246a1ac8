"use strict";
// Light or dark before the first paint: the reader's choice, kept under the report's key, else the system's.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const kept = (key, value) => {
    try {
      if (value !== undefined) localStorage.setItem(key, value);
      return localStorage.getItem(key);
    } catch { return null; }  // a browser may be told to remember nothing
  };
  const wanted = new URLSearchParams(location.search).get("theme") || kept("archaeology-theme");
  if (wanted === "dark" || wanted === "light") root.dataset.theme = wanted;
  const isDark = () => (root.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("#theme");
    const name = () => {
      button.textContent = isDark() ? "Light" : "Dark";
      root.dispatchEvent(new CustomEvent("archaeology-theme", { detail: isDark() ? "dark" : "light" }));
    };
    dark.addEventListener("change", name);
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      kept("archaeology-theme", root.dataset.theme);
      name();
    });
    button.hidden = false;
    name();
  });
})();
