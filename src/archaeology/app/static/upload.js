/** An image of the reader's own: by button, by drop anywhere on the page, by paste. */

import { ATTEMPTS, isStopped, patience, pause, send } from "./api.js";
import { one, onlyLast } from "./dom.js";
import { megabytes } from "./words.js";

const KINDS = /^image\/(png|jpeg|webp|gif|bmp)$/;

/**
 * What is wrong with a file, in words, before a byte of it is sent; null if nothing is.
 * @param {{name?: string, type: string, size: number}} file @param {{bytes?: number}} limits @returns {string|null}
 */
export function complaint(file, limits) {
  const name = file.name ? `"${file.name}"` : "What was pasted";
  if (!file.size) return `${name} is empty. Choose an image.`;
  if (!KINDS.test(file.type)) return `${name} is not an image this page can read${file.type ? ` (${file.type})` : ""}. PNG, JPEG, WebP, GIF and BMP work.`;
  if (limits.bytes && file.size > limits.bytes) return `${name} has ${megabytes(file.size)}; the server takes at most ${megabytes(limits.bytes)}. Make it smaller and try again.`;
  return null;
}

/**
 * How large a picture is, and what is kept of it where models see it in another size.
 * @param {{width: number, height: number, original: [number, number]}} size @returns {string}
 */
export function sizeWords({ width, height, original }) {
  const kept = `${width} \u00d7 ${height}`, was = `${original[0]} \u00d7 ${original[1]}`;
  return was === kept ? `${was} pixels` : `${was}, kept at ${kept} pixels`;
}

/** The first file of a drop or a paste. @param {DataTransfer|null} data @returns {File|null} */
function fileOf(data) {
  return data?.files?.[0] ?? null;
}

/**
 * @param {{limits: () => {bytes?: number}, onImage: (image: {id: string, title: string}) => void}} options
 */
export function startUpload({ limits, onImage }) {
  const drop = one("#drop"), input = one("#file"), preview = one("#preview"), words = one("#upload-words");
  const progress = one("#upload-progress"), cancel = one("#upload-cancel");
  const sending = onlyLast();
  const say = (text, isTrouble = false) => { words.textContent = text; words.classList.toggle("trouble-words", isTrouble); };
  const busy = (isBusy) => { progress.hidden = cancel.hidden = !isBusy; drop.classList.toggle("is-busy", isBusy); };

  const show = (file) => {
    if (preview.src.startsWith("blob:")) URL.revokeObjectURL(preview.src);
    preview.src = URL.createObjectURL(file);
    preview.hidden = false;
  };
  preview.addEventListener("error", () => { preview.hidden = true; });

  const take = async (file) => {
    const wrong = complaint(file, limits());
    if (wrong) { preview.hidden = true; say(wrong, true); return; }
    const signal = sending.start();
    show(file);
    busy(true);
    progress.value = 0;
    say(`Sending ${file.name || "the pasted image"} (${megabytes(file.size)})`);
    const onProgress = (share) => { progress.value = share; if (share === 1) say("Sent; the server is reading it"); };
    try {
      const { id, ...size } = await sendPatiently(file, { signal, onProgress }, say);
      say(`${file.name || "Pasted image"}, ${sizeWords(size)}`);
      onImage({ id, title: file.name || "Pasted image" });
    } catch (error) {
      if (isStopped(error)) return;
      preview.hidden = true;
      say(error.message, true);
    } finally {
      if (!signal.aborted) busy(false);
    }
  };
  const stop = () => {
    sending.stop();
    busy(false);
    preview.hidden = true;
    say("Stopped. Choose another image whenever you like.");
    one("#choose").focus();
  };

  one("#choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => { if (input.files[0]) take(input.files[0]); input.value = ""; });
  cancel.addEventListener("click", stop);
  takeDrops(drop, take, () => say("That was not a file. Save the image first, then drop the file here.", true));
  document.addEventListener("paste", (event) => {
    const file = fileOf(event.clipboardData);
    if (file) { event.preventDefault(); take(file); }
  });
}

/** Sends again while the server is busy. @param {File} file @param {Parameters<typeof send>[1]} options @param {(words: string) => void} say */
async function sendPatiently(file, options, say) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await send(file, options);
    } catch (error) {
      if (!error.isBusy || attempt + 1 >= ATTEMPTS) throw error;
      const seconds = patience(error.wish, attempt);
      say(`${error.message} Trying again in ${Math.ceil(seconds)} s.`);
      await pause(seconds, options.signal);
    }
  }
}

/** Another image is on the bench: what was uploaded is no longer the one that is seen. */
export function forgetUpload() {
  one("#preview").hidden = true;
  one("#upload-words").textContent = "";
}

/** @param {HTMLElement} drop @param {(file: File) => void} take @param {() => void} refuse */
function takeDrops(drop, take, refuse) {
  let depth = 0;
  const over = (isOver) => { drop.classList.toggle("is-over", isOver); document.body.classList.toggle("is-dragging", isOver); };
  addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; over(true); });
  addEventListener("dragleave", () => { depth = Math.max(0, depth - 1); if (!depth) over(false); });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    const file = fileOf(event.dataTransfer);
    if (file) take(file); else refuse();
  });
}
