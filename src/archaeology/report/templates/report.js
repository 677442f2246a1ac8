"use strict";
// Everything here is a convenience: without it the page shows all rows, all layers and every number as a table.
const root = document.documentElement;
const kept = (key, value) => {
  try {
    if (value !== undefined) localStorage.setItem(key, value);
    return localStorage.getItem(key);
  } catch { return null; }  // a page opened from a disk may not be allowed to remember
};
const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const wanted = new URLSearchParams(location.search).get("theme") || kept("archaeology-theme");
if (wanted === "dark" || wanted === "light") root.dataset.theme = wanted;

document.addEventListener("DOMContentLoaded", () => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector, within = document) => within.querySelector(selector);
  const press = (buttons, chosen) => buttons.forEach((button) => button.setAttribute("aria-pressed", button === chosen));

  const theme = one(".theme");
  const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  theme.hidden = false;
  nameTheme();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    kept("archaeology-theme", root.dataset.theme);
    nameTheme();
  });

  // Tables of figures are made when they are asked for: a page of ten thousand cells is slow to open.
  const unfolded = (details) => one("noscript", details)?.replaceWith(document.createRange().createContextualFragment(one("noscript", details).textContent));
  all("details").forEach((details) => details.addEventListener("toggle", () => unfolded(details)));
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])").filter((details) => !details.closest(".strip"));
    closed.forEach((details) => { unfolded(details); details.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((details) => { details.open = false; }));

  // Rows side by side: filter, unfold, colour scale.
  const list = one(".pairs"), rows = all(".pair"), filters = all(".filters button"), more = one(".more");
  const few = rows.length > 16;
  list.classList.toggle("few", few);
  more.hidden = !few;
  one(".filters").hidden = one(".switches").hidden = false;
  const unfold = () => { list.classList.remove("few"); more.hidden = true; };
  one("button", more).addEventListener("click", unfold);
  filters.forEach((button) => button.addEventListener("click", () => {
    press(filters, button);
    unfold();
    const outcome = button.dataset.outcome;
    rows.forEach((row) => { row.hidden = outcome !== "all" && row.dataset.outcome !== outcome; });
  }));
  const scales = all("[data-scale]");
  scales.forEach((button) => button.addEventListener("click", () => {
    press(scales, button);
    one("#pairs").classList.toggle("own", button.dataset.scale === "own");
  }));
  const reveal = () => { if (location.hash.startsWith("#image-")) { unfold(); one(location.hash)?.scrollIntoView({ behavior: "instant" }); } };
  addEventListener("hashchange", reveal);
  reveal();

  const viewer = one(".viewer");
  if (viewer) startViewer(viewer);

  function startViewer(box) {
    const layers = Number(box.dataset.layers), heads = Number(box.dataset.heads);
    const layer = one("#layer-knob"), head = one("#head-knob"), play = one(".play"), says = one(".says");
    const picks = all(".picks button", box), look = one(".look", box);
    let timer = null;
    const show = () => {
      const l = Number(layer.value), h = Number(head.value);
      box.style.setProperty("--l", l - 1);
      box.style.setProperty("--h", Math.max(h - 1, 0));
      box.classList.toggle("one-head", h > 0);
      const words = `Layer ${l} of ${layers}, ${h ? `head ${h} of ${heads}` : "mean of all heads"}`;
      if (!timer) says.textContent = words; else says.firstChild.data = words;
      layer.setAttribute("aria-valuetext", `layer ${l}`);
      head.setAttribute("aria-valuetext", h ? `head ${h}` : "mean of all heads");
      look.setAttribute("aria-label", `Attention over the image. ${words}`);
    };
    const pick = (button) => {
      press(picks, button);
      box.className = box.className.replace(/\b[is]\d+\b/g, "").trim() + ` i${button.dataset.row} s${button.dataset.row}`;
      show();
    };
    const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play through the layers"; says.setAttribute("aria-live", "polite"); };
    const step = () => { if (Number(layer.value) >= layers) stop(); else { layer.value = Number(layer.value) + 1; show(); } };
    play.addEventListener("click", () => {
      if (timer) { stop(); return; }
      if (Number(layer.value) >= layers) { layer.value = 1; show(); }
      says.setAttribute("aria-live", "off");
      play.textContent = "Stop";
      timer = setInterval(step, 700);
    });
    [layer, head].forEach((knob) => knob.addEventListener("input", () => { if (timer && knob === layer) stop(); show(); }));
    picks.forEach((button) => button.addEventListener("click", () => pick(button)));
    box.hidden = false;
    pick(picks[0]);
  }

  // The value of a cell under the pointer, read from the table that belongs to the matrix.
  const tip = one(".tip");
  const hide = () => { tip.hidden = true; };
  const cellAt = (event, box, columns, rows) => {
    const place = box.getBoundingClientRect();
    const column = Math.floor((event.clientX - place.left) / place.width * columns);
    const row = Math.floor((event.clientY - place.top) / place.height * rows);
    return column >= 0 && row >= 0 && column < columns && row < rows ? [row, column] : null;
  };
  const tell = (event, text) => {
    tip.textContent = text;
    tip.hidden = false;
    const space = tip.getBoundingClientRect();
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - space.width - 8)}px`;
    tip.style.top = `${event.clientY + 18 + space.height > innerHeight ? event.clientY - space.height - 10 : event.clientY + 18}px`;
  };
  all("#heads .exhibit").forEach((exhibit) => {
    const picture = one(".drawing", exhibit), cells = one(".drawing image", exhibit);
    if (!cells) return;
    picture.addEventListener("pointermove", (event) => {
      unfolded(one("details", exhibit));
      const table = one("tbody", exhibit);
      if (table.rows.length !== cells.height.baseVal.value) return;
      const at = cellAt(event, cells, cells.width.baseVal.value, cells.height.baseVal.value);
      if (at) tell(event, `Layer ${at[0] + 1}, head ${at[1] + 1}: ${table.rows[at[0]].cells[at[1] + 1].textContent}`); else hide();
    });
    picture.addEventListener("pointerleave", hide);
  });
  all(".atlas").forEach((atlas) => {
    atlas.addEventListener("pointermove", (event) => {
      const at = cellAt(event, atlas, Number(atlas.dataset.columns), Number(atlas.dataset.rows));
      if (at) tell(event, `Layer ${at[0] + 1}, head ${at[1] + 1}`); else hide();
    });
    atlas.addEventListener("pointerleave", hide);
  });
  addEventListener("scroll", hide, { passive: true });

  // Which chapter is being read.
  const links = new Map(all(".contents a").map((link) => [link.hash.slice(1), link]));
  const watch = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      links.forEach((link, key) => link.classList.toggle("here", key === entry.target.id));
    });
  }, { rootMargin: "-20% 0px -70% 0px" });
  all(".chapter").forEach((chapter) => watch.observe(chapter));
});
