"""Keep the runs of recipes on synthetic worlds, all seeds of a recipe in one small file, and rewrite the tables.

Run `python docs/collect.py runs/*-seed*` after `archaeology train RECIPE --seed N --out runs/RECIPE-seedN ...`.
"""

import json
import sys
from pathlib import Path
from typing import Any

from generate import WORLD_RESULTS, main


def kept(run: Path) -> dict[str, Any]:
    """What is worth keeping of one run: how it was made, what it reached, and its curve."""
    document = json.loads((run / "run.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    batch_size = document["config"]["batch_size"]
    curve = [
        {"examples": line["step"] * batch_size} | {name: line[name] for name in document["scores"]}
        for line in lines
        if all(name in line for name in document["scores"])
    ]
    return {
        "seed": document["seed"],
        "command": document["command"],
        "git": document.get("git"),
        "versions": document.get("versions"),
        "scores": document["scores"],
        "trained": document["trained"],
        "curve": curve,
    }


def collect(runs: list[Path]) -> None:
    """Write one file for each recipe, with its runs in the order of their seeds."""
    by_recipe: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        recipe = json.loads((run / "run.json").read_text(encoding="utf-8"))["recipe"]
        by_recipe.setdefault(recipe, []).append(kept(run))
    WORLD_RESULTS.mkdir(parents=True, exist_ok=True)
    for recipe, found in by_recipe.items():
        document = {"recipe": recipe, "runs": sorted(found, key=lambda run: run["seed"])}
        path = WORLD_RESULTS / f"{recipe}.json"
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    collect([Path(folder) for folder in sys.argv[1:]])
    main()
