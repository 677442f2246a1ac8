/** Asking for rows that are not here: only for the query asked last, once it has been asked for a moment. */

import { openContainer } from "./subject.js";

const MOMENT = 60; // ms: a pointer that crosses the image passes many patches

/** The one query that is asked for, or the one that could not be had. */
export class RowAsking {
  /** @param {() => void} changed Called when an answer, or none, has come. */
  constructor(changed) {
    Object.assign(this, { changed, waiting: null, failed: null, timer: 0, stopper: null });
  }

  /** Why a query is not here. @param {string} key @returns {"waiting"|"failed"|null} */
  stateOf(key) { return key === this.waiting ? "waiting" : key === this.failed ? "failed" : null; }

  /**
   * Ask for a query, and for no other any more.
   *
   * @param {string} key Of model and query. @param {import("./attention.js").Attention} attention What gets the rows.
   * @param {number} query @param {(signal: AbortSignal) => Promise<ArrayBuffer>} ask
   */
  want(key, attention, query, ask) {
    if (this.stateOf(key)) return;
    this.forget();
    this.waiting = key;
    const stopper = this.stopper = new AbortController();
    this.timer = setTimeout(async () => {
      let isServed = true;
      try {
        const { json, block } = openContainer(await ask(stopper.signal));
        attention.serve(query, block(json.rows ?? json.values ?? json));
      } catch { isServed = false; }
      if (stopper.signal.aborted) return;
      this.waiting = null;
      this.failed = isServed ? null : key;
      this.changed();
    }, MOMENT);
  }

  /** Nothing is asked for any more, and what failed may be asked again. */
  forget() {
    clearTimeout(this.timer);
    this.stopper?.abort();
    Object.assign(this, { waiting: null, failed: null, stopper: null });
  }
}
