/** How the page asks the server: paths under the page's own, clear words for every refusal, patience when it is busy. */

/** A refusal, in words for the reader. */
export class Refused extends Error {
  /** @param {string} words @param {number} status */
  constructor(words, status = 0) {
    super(words);
    this.status = status;
  }

  /** Whether the same request may succeed later. */
  get isBusy() { return this.status === 503 || this.status === 429; }
}

const WORDS = {
  0: "The server does not answer. Is it still running? Look at the terminal that started it.",
  401: "This server asks for its token. Open the address that the terminal printed, with the token in it.",
  403: "The server refused: open this page by the address that the terminal printed.",
  404: "The server no longer has this. Uploaded images live in memory only, for a while: choose the image again.",
  413: "This image is larger than the server takes.",
  415: "This is not an image the server can read: PNG, JPEG, WebP, GIF and BMP work.",
  503: "The server is too busy at the moment. Try again in a minute.",
};
export const ATTEMPTS = 12;

/** @param {string} path below the page's own @returns {string} */
export function address(path) {
  return new URL(path, document.baseURI).href;
}

/** Seconds to wait, by the server's wish, else longer every time. @param {string|null} wish @param {number} attempt @returns {number} */
export function patience(wish, attempt) {
  const seconds = Number.parseFloat(wish ?? "");
  const own = Math.min(10, 0.5 * 2 ** attempt);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(60, Math.max(seconds, 0.2)) : own;
}

/** @param {number} seconds @param {AbortSignal} [signal] @returns {Promise<void>} */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => { clearTimeout(timer); reject(signal.reason); };
    const timer = setTimeout(() => { signal?.removeEventListener("abort", stop); resolve(); }, seconds * 1000);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** What the server said, as a refusal. @param {number} status @param {string} text @returns {Refused} */
export function refusal(status, text) {
  let said = null;
  try {
    const answer = JSON.parse(text);
    said = answer.error ?? answer.detail;
  } catch { said = null; }
  const words = typeof said === "string" && said ? said : WORDS[status] ?? `The server failed (${status}). Its terminal says why.`;
  return new Refused(words, status);
}

/** @param {unknown} error @returns {boolean} */
export function isStopped(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

/**
 * @param {string} path
 * @param {{method?: string, json?: unknown, form?: Record<string, string>, signal?: AbortSignal, onWait?: (seconds: number, words: string) => void}} [options]
 * @returns {Promise<Response>}
 */
export async function ask(path, { method = "GET", json, form, signal, onWait } = {}) {
  const request = { method, signal, headers: {} };
  if (json !== undefined) {
    request.body = JSON.stringify(json);
    request.headers["Content-Type"] = "application/json";
  }
  if (form) {
    request.body = new FormData();
    for (const [name, value] of Object.entries(form)) request.body.append(name, value);
  }
  for (let attempt = 0; ; attempt += 1) {
    let response;
    try {
      response = await fetch(address(path), request);
    } catch (error) {
      if (isStopped(error) || signal?.aborted) throw signal?.reason ?? error;
      throw new Refused(WORDS[0]);
    }
    if (response.ok) return response;
    const refused = refusal(response.status, await response.text());
    if (!refused.isBusy || attempt + 1 >= ATTEMPTS) throw refused;
    const seconds = patience(response.headers.get("Retry-After"), attempt);
    onWait?.(seconds, refused.message);
    await pause(seconds, signal);
  }
}

/** @param {string} path @param {Parameters<typeof ask>[1]} [options] @returns {Promise<any>} */
export async function askJson(path, options) {
  return (await ask(path, options)).json();
}

/** @param {string} path @param {Parameters<typeof ask>[1]} [options] @returns {Promise<ArrayBuffer>} */
export async function askBytes(path, options) {
  return (await ask(path, options)).arrayBuffer();
}

/** What one token of a picture looks at. @param {string} path of the image or of the attack that changed it @param {string} model @param {number} query @param {AbortSignal} [signal] @returns {Promise<ArrayBuffer>} */
export function askRows(path, model, query, signal) {
  return askBytes(`${path}/rows?${new URLSearchParams({ model, query })}`, { signal });
}

/**
 * Sends one image and tells how far it is. A request of the older kind, since only it reports what was sent.
 * @param {File|Blob} file @param {{signal: AbortSignal, onProgress: (share: number) => void}} options
 * @returns {Promise<{id: string, width: number, height: number}>}
 */
export function send(file, { signal, onProgress }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("image", file, file.name || "pasted");
    request.open("POST", address("api/images"));
    request.upload.onprogress = (event) => { if (event.lengthComputable) onProgress(event.loaded / event.total); };
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(Object.assign(refusal(request.status, request.responseText), { wish: request.getResponseHeader("Retry-After") }));
    };
    request.onerror = () => reject(new Refused(WORDS[0]));
    request.onabort = () => reject(new DOMException("Stopped.", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
}

/**
 * Whole events of a text/event-stream, and what is left of the text.
 * @param {string} text @returns {{events: {event: string, data: any}[], rest: string}}
 */
export function parsedEvents(text) {
  const blocks = text.split(/\r\n\r\n|\n\n|\r\r/);
  const rest = blocks.pop();
  const events = blocks.map((block) => {
    const lines = block.split(/\r\n|\n|\r/);
    const all = (field) => lines.filter((line) => line.startsWith(`${field}:`)).map((line) => line.slice(field.length + 1).replace(/^ /, ""));
    const data = all("data").join("\n");
    return { event: all("event").at(-1) ?? "message", data: data ? JSON.parse(data) : null };
  });
  return { events: events.filter(({ data }) => data !== null), rest };
}

/** Events as they come; ends with the stream. @param {Response} response @returns {AsyncGenerator<{event: string, data: any}>} */
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const { events, rest } = parsedEvents(text + value);
      text = rest;
      yield* events;
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
