"""Folders of runs to compare, written by hand: accuracies after each epoch, a final one, no model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archaeology.training.config import TrainConfig

CLASSES = ("red", "green", "blue", "grey")
NUM_TEST = 1000


def write_run(
    folder: Path,
    accuracies: Sequence[float],
    *,
    recipe: str = "plain",
    seed: int = 0,
    pace: float = 10.0,
    final: float | None = None,
    config: dict[str, Any] | None = None,
    finished: bool = True,
    **facts: Any,
) -> Path:
    """A run of two steps of 50 images an epoch, each of which takes `pace` seconds.

    Args:
        folder: Made here.
        accuracies: After each epoch, on some test images.
        recipe: Its name.
        seed: Its seed.
        pace: Seconds of an epoch.
        final: Accuracy on all 1,000 test images; None for the last of `accuracies`.
        config: Fields of `TrainConfig` that differ from its defaults.
        finished: Whether there is a `run.json`.
        facts: More of the card, such as `origin`; `data` replaces that of the run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, float]] = []
    for epoch, accuracy in enumerate(accuracies, start=1):
        seconds = pace * epoch
        speed = 100 / pace
        lines.append(
            {"step": 2 * epoch, "epoch": epoch, "seconds": seconds, "loss": 1.0, "images_per_second": speed}
        )
        lines.append(
            {
                "step": 2 * epoch,
                "epoch": epoch,
                "test_accuracy_glance": accuracy,
                "train_accuracy_glance": accuracy,
            }
        )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = {"num_training": 100, "training": "made up train (100)", "test": "made up test (1,000)"}
    about = {"recipe": recipe, "seed": seed, "data": {**data, "test_fingerprint": "abc"}, **facts}
    card = {"format": 1, "architecture": "vit", "arguments": {"depth": 2}, "classes": list(CLASSES)}
    (folder / "config.json").write_text(json.dumps({**card, "facts": about}))
    if finished:
        value = accuracies[-1] if final is None else final
        settings = TrainConfig.model_validate({"batch_size": 50, "seed": seed, **(config or {})})
        record = {**about, "config": settings.model_dump(), "accuracy": {"value": value, "n": NUM_TEST}}
        (folder / "run.json").write_text(json.dumps(record))
    return folder


def write_recipe(
    folder: Path, recipe: str, finals: Sequence[float], *, start: float = 0.4, **more: Any
) -> list[Path]:
    """Runs of one recipe with seeds 0, 1, ...: four epochs that rise evenly from `start` to each of the accuracies."""
    return [
        write_run(
            folder / f"{recipe}-seed{seed}",
            [start + (final - start) * step / 3 for step in range(4)],
            recipe=recipe,
            seed=seed,
            **more,
        )
        for seed, final in enumerate(finals)
    ]
