/** The page begins: what does the server offer? Then an image goes on the bench. */

import { askJson } from "./api.js";
import { Bench } from "./bench.js";
import { one, onlyLast } from "./dom.js";
import { busyWords, calm, startStatus, trouble, wait } from "./status.js";
import { startUpload } from "./upload.js";

async function start() {
  calm();
  wait("Asking the server what there is\u2026");
  const starting = onlyLast(), signal = starting.start();
  one("#wait-cancel").addEventListener("click", starting.stop, { once: true });
  try {
    const setup = await askJson("api/setup", { signal, onWait: busyWords });
    const dug = setup.runs ? await askJson("api/run/subjects", { signal, onWait: busyWords }) : [];
    wait(null);
    one("#run-name").textContent = setup.runs ? `Dig: ${setup.runs.name}` : "";
    const bench = new Bench(setup, dug);
    startUpload({ limits: () => setup.limits ?? {}, onImage: ({ id, title }) => bench.open({ kind: "upload", id, title }) });
  } catch (error) {
    trouble(error, start);
  }
}

one("#skip").addEventListener("click", (event) => {
  event.preventDefault();
  const bench = one("#bench");
  if (bench.hidden) one("#choose").focus(); else bench.focus();
});
startStatus();
start();
