"""Keep the runs of recipes, all seeds of a recipe in one small file, and rewrite the tables.

Run `python docs/collect.py runs/*-seed*` after `archaeology train RECIPE --seed N --out runs/RECIPE-seedN ...`.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from generate import TRAINING_RESULTS, WORLD_RESULTS, main

PLACE = re.compile(r"\b(parquet|folder|npz):[^\s\"]*/(?=[\w.-])")  # where data lie is of no use to others


def kept(run: Path) -> dict[str, Any]:
    """What is worth keeping of one run: how it was made, what it reached, and its curve."""
    document = json.loads((run / "run.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    batch_size = document["config"]["batch_size"]
    of_world = "scores" in document
    told = list(document["scores"]) if of_world else ["test_accuracy_glance", "train_accuracy_glance"]
    curve = [
        {"examples": line["step"] * batch_size} | {name: line[name] for name in told}
        for line in lines
        if all(name in line for name in told)
    ]
    of_images = ("accuracy", "train_accuracy", "robust_accuracy", "data", "teacher", "origin", "frozen")
    reached = ("scores",) if of_world else of_images
    facts = ("seed", "command", "git", "versions", "trained", *reached)
    return {**{fact: document.get(fact) for fact in facts if fact in document}, "curve": curve}


def collect(runs: list[Path]) -> None:
    """Write one file for each recipe, with its runs in the order of their seeds."""
    by_recipe: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        recipe = json.loads((run / "run.json").read_text(encoding="utf-8"))["recipe"]
        by_recipe.setdefault(recipe, []).append(kept(run))
    for recipe, found in by_recipe.items():
        folder = WORLD_RESULTS if "scores" in found[0] else TRAINING_RESULTS
        folder.mkdir(parents=True, exist_ok=True)
        document = {"recipe": recipe, "runs": sorted(found, key=lambda run: run["seed"])}
        text = PLACE.sub(r"\1:", json.dumps(document, indent=1))
        (folder / f"{recipe}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    collect([Path(folder) for folder in sys.argv[1:]])
    main()
