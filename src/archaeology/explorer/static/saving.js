/** Files of what is shown: PNG and SVG with title, colour bars and captions, made in the page. */

import { barPicture, barTicks } from "./colourbar.js";
import { cellBox, drawGrid, drawPanel, frame, makeCanvas, paintOver } from "./ink.js";
import { make } from "./dom.js";

const SIDE = 420, MARGIN = 28, SERIF = "Charter, Palatino, 'Noto Serif', Georgia, serif", SANS = "system-ui, 'Noto Sans', 'Liberation Sans', sans-serif";

/** Words broken into lines. @param {string} text @param {number} most Letters in a line. @returns {string[]} */
export function brokenLines(text, most) {
  const lines = [""];
  for (const word of text.split(/\s+/)) {
    if (lines.at(-1) && lines.at(-1).length + word.length + 1 > most) lines.push(word);
    else lines[lines.length - 1] += (lines.at(-1) ? " " : "") + word;
  }
  return lines;
}

/**
 * A sheet: texts and pictures with their places, before it is known which file they go into.
 *
 * @param {{title: string, source: string, photos: object, view: object, panels: {name: string, answer: string, shown: import("./shown.js").Shown}[]}} content
 */
export function sheetOf(content) {
  const { photos, panels } = content, ratio = photos.plain.height / photos.plain.width, height = Math.round(SIDE * Math.min(ratio, 1.5)), width = Math.round(height / ratio);
  const items = [{ kind: "text", x: MARGIN, y: 44, size: 22, family: SERIF, weight: 600, text: content.title }];
  let bottom = 0;
  panels.forEach((panel, index) => {
    const x = MARGIN + index * (SIDE + MARGIN), { shown } = panel;
    let y = 84;
    items.push({ kind: "text", x, y, size: 14, family: SANS, weight: 600, text: panel.name }, { kind: "text", x, y: y + 20, size: 13, family: SANS, text: panel.answer, isQuiet: true });
    items.push({ kind: "map", x, y: y + 34, width, height, shown, marked: panel.marked ?? -1 });
    y += 34 + height + 14;
    if (shown.state === "drawn") {
      items.push({ kind: "bar", x, y, width, height: 12, shown });
      barTicks(shown).forEach(([, text], place) => items.push({ kind: "text", x: x + width * place / 2, y: y + 28, size: 12, family: SANS, text, isQuiet: true, anchor: ["start", "middle", "end"][place] }));
      items.push({ kind: "text", x, y: y + 46, size: 12, family: SANS, text: shown.unit, isQuiet: true });
      y += 70;
    } else y += 12;
    brokenLines(shown.caption, Math.floor(width / 7.1)).forEach((text, line) => items.push({ kind: "text", x, y: y + 18 * line, size: 13, family: SANS, text }));
    bottom = Math.max(bottom, y + 18 * brokenLines(shown.caption, Math.floor(width / 7.1)).length);
  });
  items.push({ kind: "text", x: MARGIN, y: bottom + 24, size: 11, family: SANS, text: content.source, isQuiet: true });
  return { width: MARGIN + panels.length * (SIDE + MARGIN), height: bottom + 44, items };
}

/** @param {ReturnType<typeof sheetOf>} sheet @returns {HTMLCanvasElement} */
export function sheetToCanvas(sheet, photos, view, dots = 2) {
  const canvas = makeCanvas(sheet.width * dots, sheet.height * dots), context = canvas.getContext("2d");
  context.scale(dots, dots);
  context.fillStyle = "#fefefd";
  context.fillRect(0, 0, sheet.width, sheet.height);
  for (const item of sheet.items) {
    if (item.kind === "text") {
      context.font = `${item.weight ?? 400} ${item.size}px ${item.family}`;
      context.fillStyle = item.isQuiet ? "#5c6570" : "#22262b";
      context.textAlign = { middle: "center", end: "right" }[item.anchor] ?? "left";
      context.fillText(item.text, item.x, item.y);
    } else if (item.kind === "map") {
      drawPanel(context, item, photos, item.shown, view);
      if (item.shown.state !== "drawn") continue;
      drawGrid(context, item, item.shown);
      if (item.marked >= 0) frame(context, cellBox(item, item.shown, item.marked), true);
    } else {
      context.imageSmoothingEnabled = true;
      context.drawImage(barPicture(item.shown, view), item.x, item.y, item.width, item.height);
    }
  }
  return canvas;
}

/** Text that may stand in XML. @param {string} text */
export function xmlText(text) {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "").replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

/** A map as rectangles, one for each patch that has a number. @param {import("./shown.js").Shown} shown @returns {string} */
export function mapToSvg(item, rgba) {
  const { shown } = item, width = item.width / shown.columns, height = item.height / shown.rows, round = (value) => Math.round(100 * value) / 100;
  let text = "";
  for (let place = 0; place < shown.values.length; place++) {
    const x = round(item.x + (place % shown.columns) * width), y = round(item.y + Math.floor(place / shown.columns) * height);
    const [red, green, blue, opacity] = rgba.subarray(4 * place, 4 * place + 4);
    if (Number.isNaN(shown.values[place])) { if (shown.isPart) text += `<rect x="${x}" y="${y}" width="${round(width)}" height="${round(height)}" fill="url(#unseen)"/>`; continue; }
    text += `<rect x="${x}" y="${y}" width="${round(width)}" height="${round(height)}" fill="rgb(${red},${green},${blue})" fill-opacity="${round(opacity / 255)}"/>`;
  }
  return text;
}

/** The frame round the patch that is looked from. @returns {string} */
export function frameToSvg(item) {
  if (item.marked < 0) return "";
  const { x, y, width, height } = cellBox(item, item.shown, item.marked);
  return ["#0a0c0f", "#fff"].map((colour, i) => `<rect x="${x}" y="${y}" width="${width}" height="${height}" fill="none" stroke="${colour}" stroke-width="${i ? 2.5 : 5}" stroke-linejoin="round"/>`).join("");
}

/** @param {ReturnType<typeof sheetOf>} sheet @returns {string} */
export function sheetToSvg(sheet, photos, view) {
  const parts = sheet.items.map((item) => {
    if (item.kind === "text") return `<text x="${item.x}" y="${item.y}" font-family="${xmlText(item.family)}" font-size="${item.size}"${item.weight ? ` font-weight="${item.weight}"` : ""} text-anchor="${item.anchor ?? "start"}" fill="${item.isQuiet ? "#5c6570" : "#22262b"}">${xmlText(item.text)}</text>`;
    const picture = (canvas, style) => `<image x="${item.x}" y="${item.y}" width="${item.width}" height="${item.height}" preserveAspectRatio="none"${style} href="${canvas.toDataURL("image/png")}"/>`;
    if (item.kind === "bar") return picture(barPicture(item.shown, view), "");
    const isDrawn = item.shown.state === "drawn" && view.mix > 0;
    return picture(isDrawn ? photos.grey : photos.plain, photos.isSmall ? ' style="image-rendering:pixelated"' : "") + (isDrawn ? `<g shape-rendering="crispEdges">${mapToSvg(item, paintOver(item.shown, view.colours, view.mix))}</g>${frameToSvg(item)}` : "");
  });
  const hatch = '<defs><pattern id="unseen" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="8" height="8" fill="#000" fill-opacity=".45"/><path d="M0 0V8" stroke="#fff" stroke-opacity=".4" stroke-width="2"/></pattern></defs>';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${sheet.width} ${sheet.height}" width="${sheet.width}" height="${sheet.height}">${hatch}<rect width="100%" height="100%" fill="#fefefd"/>${parts.join("")}</svg>`;
}

/** Hand a file to the reader. @param {Blob} blob @param {string} name */
export function handOver(blob, name) {
  const address = URL.createObjectURL(blob), link = make("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** A name for a file made of what is shown. @param {string} text @returns {string} */
export function fileName(text) {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 80) || "attention";
}
