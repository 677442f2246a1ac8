/** What the page is waiting for, and what went wrong, in one place above the bench. */

import { isStopped } from "./api.js";
import { one } from "./dom.js";

let again = () => {};

/** @param {string|null} words nothing hides the line */
export function wait(words) {
  one("#wait").hidden = !words;
  one("#wait-words").textContent = words ?? "";
}

/** @param {number} seconds @param {string} words */
export function busyWords(seconds, words) {
  wait(`${words} Trying again in ${Math.ceil(seconds)} s.`);
}

export function calm() {
  one("#trouble").hidden = true;
}

/** @param {unknown} error @param {() => void} retry */
export function trouble(error, retry) {
  wait(null);
  if (isStopped(error)) return;
  again = retry;
  one("#trouble").hidden = false;
  one("#trouble-words").textContent = error instanceof Error ? error.message : String(error);
}

export function startStatus() {
  one("#trouble-again").addEventListener("click", () => { calm(); again(); });
  one("#trouble-close").addEventListener("click", calm);
}
