
// The report's part: where the explorer of this page finds its images.
const explorerHost = document.querySelector(".explorer");
const subjectList = JSON.parse(document.querySelector("#subjects").textContent);

/** A file of data beside the page, which is a script: pages on a disk may not read other files. */
function fetchedScript(file, key) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = file;
    script.onload = () => resolve(globalThis.archaeologySubjects[key]);
    script.onerror = () => reject(new Error(`${file} must lie beside this page, but cannot be read; copy the whole folder.`));
    document.head.append(script);
  });
}

const explorerSource = {
  subjects: subjectList,
  load: async (id) => {
    const key = subjectList.findIndex((entry) => entry.id === id);
    const inside = document.querySelector(`#subject-${key}`);
    return inflateText(inside ? inside.textContent : await fetchedScript(subjectList[key].file, key));
  },
};
if (explorerHost && "DecompressionStream" in globalThis) {
  explorerHost.hidden = false;
  const pageTheme = () => document.documentElement.dataset.theme || "auto";
  let explorer = mount(explorerHost, explorerSource, { prefix: "x", theme: pageTheme(), controls: ["subjects", "layers", "heads", "modes", "3d", "save"] });
  new MutationObserver(() => {
    const state = explorer.state();
    explorer.destroy();
    explorerHost.textContent = "";
    explorer = mount(explorerHost, explorerSource, { prefix: "x", theme: pageTheme(), state });
  }).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
}
