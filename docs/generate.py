"""Write the generated parts of the documents; a test compares them, so that no number is typed by hand.

Run `python docs/generate.py` after a specimen was trained or a benchmark was run.
"""

import inspect
import json
from pathlib import Path
from statistics import median
from typing import Any

from archaeology.recipes import recipes
from archaeology.zoo.table import RELATIONS, SYMBOLS, entries, markdown_table

ROOT = Path(__file__).resolve().parents[1]
BUNDLED = ROOT / "src" / "archaeology" / "specimens" / "bundled"
SCORES = {"shapes1d": "amplitude_error", "shapes2d": "colour_error"}
WORLD_RESULTS = ROOT / "docs" / "results" / "worlds"
TRAINING_RESULTS = ROOT / "docs" / "results" / "training"
BEGIN, END = "<!-- specimens:begin -->", "<!-- specimens:end -->"


def specimen_table() -> str:
    """One row for each bundled specimen, from the `config.json` beside its weights."""
    lines = [
        "| specimen | test images | accuracy | 95 % interval | epochs | size |",
        "|---|---|---|---|---|---|",
    ]
    for folder in sorted(path.parent for path in BUNDLED.glob("*/config.json")):
        facts = json.loads((folder / "config.json").read_text(encoding="utf-8"))["facts"]
        reached, size = facts["test_accuracy"], (folder / "model.safetensors").stat().st_size
        lines.append(
            f"| `bundled:{folder.name}` | {facts['data']['test'].rsplit('/')[-1]} | {100 * reached['value']:.2f} % | "
            f"{100 * reached['low']:.2f} to {100 * reached['high']:.2f} % | {facts['epochs']:g} | {size / 1e6:.2f} MB |"
        )
    return "\n".join(lines)


def with_specimens(readme: str) -> str:
    """The README with the table between its marks."""
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{specimen_table()}\n{END}{after}"


def zoo_page() -> str:
    """Every attention mechanism with what it says of itself."""
    relations = "\n".join(f"- **{name}**: {meaning}" for name, meaning in RELATIONS.items())
    return f"""# The attention zoo

Generated from what each mechanism says of itself; `archaeology zoo` prints the same,
`archaeology zoo --patterns FILE.png` draws who looks at whom in each, `archaeology zoo --measure` times them on your
machine and draws cost against length and error against cost. A mechanism is used by name,
`MultiHeadAttention(64, 4, mechanism="sliding_window")`; a layer owns its projections and is used by its class.

{SYMBOLS}.

{markdown_table(entries())}

How each relates to softmax attention:

{relations}

Sources are keys of [references.bib](references.bib).
"""


def world_results(world: str) -> list[dict[str, Any]]:
    """The kept runs of every recipe on `world`, best score first."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in WORLD_RESULTS.glob(f"{world}_*.json")]
    return sorted(found, key=lambda document: reached(document, SCORES[world])[0])


def reached(document: dict[str, Any], score: str) -> tuple[float, float, float]:
    """Median, least and largest value of a score over the seeds."""
    values = [run["scores"][score]["value"] for run in document["runs"]]
    return median(values), min(values), max(values)


def world_table(world: str) -> str:
    """One row for each recipe on a world."""
    score = SCORES[world]
    columns = ("recipe", score.replace("_", " "), "seeds", "mean squared error", "IoU", "parameters")
    lines = [
        f"| {' | '.join(columns)} | CPU seconds | what it is |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for document in world_results(world):
        name, runs = document["recipe"], document["runs"]
        (middle, low, high), (error, *_), (drawn, *_) = (
            reached(document, key) for key in (score, "mse", "iou")
        )
        seeds = ", ".join(str(run["seed"]) for run in runs)
        spread = f"{low:.3f} to {high:.3f}" if len(runs) > 1 else "one run"
        seconds = median(run["trained"]["cpu_seconds"] for run in runs)
        summary = (inspect.getdoc(recipes.get(name)) or "").partition("\n")[0]
        lines.append(
            f"| `{name}` | {middle:.3f} ({spread}) | {seeds} | {error:.2g} | {drawn:.3f} | "
            f"{runs[0]['trained']['parameters']:,} | {seconds:.0f} | {summary} |"
        )
    return "\n".join(lines)


def worlds_page() -> str:
    """What every recipe on a synthetic world reached."""
    return f"""# Synthetic worlds

Generated from [results/worlds](results/worlds), which `python docs/collect.py runs/*` writes. Every run can be made
again: `archaeology train RECIPE --seed N`. Within a world all recipes see the same samples in the same order, as many
of them, and are scored on the same 1,000 samples that nobody trained on. Shown is the median over seeds, and the range.

## shapes1d

Signals of 500 values with 3 to 8 triangles, rectangles and semicircles; each is to be redrawn at the mean amplitude of
its kind. The amplitude error is the distance of the drawn amplitudes from those means, as a share of what no averaging
at all would give.

{world_table("shapes1d")}

## shapes2d

Images of 128 x 128 pixels with 5 to 10 filled and hollow circles and rectangles; each is to be painted in the mean
colour of its kind, but of the filled circles only red-dominant ones count, and the others vanish. The colour error is
defined likewise.

{world_table("shapes2d")}
"""


def training_table() -> str:
    """One row for each recipe of images whose runs are kept, by data and best first."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in TRAINING_RESULTS.glob("*.json")]

    def accuracies(document: dict[str, Any], key: str = "accuracy") -> list[float]:
        return [100 * run[key]["value"] for run in document["runs"]]

    def place(document: dict[str, Any]) -> tuple[str, float]:
        return document["runs"][0]["data"]["test_fingerprint"], -median(accuracies(document))

    lines = [
        "| recipe | test accuracy, % | on training images | seeds | test images | epochs | minutes | what it is |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for document in sorted(documents, key=place):
        name, runs = document["recipe"], document["runs"]
        reached = accuracies(document)
        spread = f"{min(reached):.1f} to {max(reached):.1f}" if len(runs) > 1 else "one run"
        data = runs[0]["data"]
        epochs = median(run["trained"]["images"] / data["num_training"] for run in runs)
        minutes = median(run["trained"]["seconds"] for run in runs) / 60
        seeds = ", ".join(str(run["seed"]) for run in runs)
        summary = (inspect.getdoc(recipes.get(name)) or "").partition("\n")[0]
        learnt = median(accuracies(document, "train_accuracy"))
        test = data["test"].partition(":")[2] or data["test"]
        lines.append(
            f"| `{name}` | {median(reached):.1f} ({spread}) | {learnt:.1f} | {seeds} | {test} | {epochs:.1f} | "
            f"{minutes:.0f} | {summary} |"
        )
    return "\n".join(lines)


def robust_table() -> str:
    """One row for each recipe that learns from an adversary."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in TRAINING_RESULTS.glob("*.json")]
    lines = [
        "| recipe | seed | attack | accuracy under attack, % | 95 % interval | images | without attack, % |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = [
        (document["recipe"], run)
        for document in sorted(documents, key=lambda document: document["recipe"])
        for run in document["runs"]
        if "robust_accuracy" in run
    ]
    for name, run in rows:
        reached = run["robust_accuracy"]
        lines.append(
            f"| `{name}` | {run['seed']} | {reached['attack']} | {100 * reached['value']:.1f} | "
            f"{100 * reached['low']:.1f} to {100 * reached['high']:.1f} | {reached['n']:,} | "
            f"{100 * run['accuracy']['value']:.1f} |"
        )
    return "\n".join(lines)


def training_page() -> str:
    """What every recipe of images reached."""
    return f"""# Trainings on real images

Generated from [results/training](results/training), which `python docs/collect.py runs/*` writes. Every run can be made
again: `archaeology train RECIPE --data PLACE --seed N`. Shown is the median over seeds, and the range; minutes are wall
time on one core beside other work, so they say what is feasible, not what is fast.
`archaeology compare-training RUN...` compares runs with intervals.

{training_table()}

## Under attack

Recipes that learn from an adversary (`--adversarial fast` or `pgd`), and what is left of their accuracy when each test
image is changed against them: projected gradient descent from one random start, a first look that a stronger attack
may lower.

{robust_table()}
"""


def main() -> None:
    """Rewrite the README and the pages of the zoo, the worlds and the trainings in place."""
    (ROOT / "docs" / "training.md").write_text(training_page(), encoding="utf-8")
    (ROOT / "docs" / "worlds.md").write_text(worlds_page(), encoding="utf-8")
    readme = ROOT / "README.md"
    readme.write_text(with_specimens(readme.read_text(encoding="utf-8")), encoding="utf-8")
    (ROOT / "docs" / "zoo.md").write_text(zoo_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
