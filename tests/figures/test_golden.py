"""The numbers of every figure on the made-up small run, against those kept in tests/golden.

After a wanted change run this file with ARCHAEOLOGY_RENEW_GOLDEN=1 and read the difference before committing it.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from archaeology.core.storage import write_json
from archaeology.figures import (
    explanation_figures,
    figures,
    learning_figures,
    profile_figures,
    training_figures,
    world_figures,
    zoo_figures,
)

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
NOT_KEPT = {  # thousands of numbers; tests/zoo/test_patterns.py, test_worlds.py and test_world_heads.py have theirs
    "zoo_patterns",
    "world_alignment",
    "world_colour_rule",
    "world_cross_patch",
    "world_positions",
    "world_predictions",
    "world_self_and_cross",
    "world_shapes1d",
    "world_shapes2d",
    "world_tokens",
    "training_accuracy",  # tests/diagnose/test_comparison.py has theirs, and test_comparison_models.py
    "training_attention",
    "training_curves",
}
EVERY = {
    name: registry.get(name)
    for registry in (
        figures,
        zoo_figures,
        world_figures,
        profile_figures,
        training_figures,
        explanation_figures,
        learning_figures,
    )
    for name in registry
    if name not in NOT_KEPT
}


def as_lists(value):
    """Numbers ready for JSON; NaN becomes null there."""
    if isinstance(value, np.ndarray):
        return as_lists(value.tolist())
    if isinstance(value, dict):
        return {key: as_lists(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_lists(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def assert_alike(found, kept, where):
    if isinstance(kept, dict):
        assert found.keys() == kept.keys(), where
        for key in kept:
            assert_alike(found[key], kept[key], f"{where}.{key}")
    elif isinstance(kept, list):
        assert len(found) == len(kept), where
        for place, (one, other) in enumerate(zip(found, kept, strict=True)):
            assert_alike(one, other, f"{where}[{place}]")
    elif isinstance(kept, float):
        assert found == pytest.approx(kept, rel=1e-6, abs=1e-9), where
    else:
        assert found == kept, where


@pytest.mark.parametrize("name", list(EVERY))
def test_numbers_are_those_kept(name, source_of):
    found = as_lists(asdict(EVERY[name].compute(source_of(name))))
    path = GOLDEN / f"{name}.json"
    if os.environ.get("ARCHAEOLOGY_RENEW_GOLDEN"):
        write_json(path, found)
    assert_alike(found, json.loads(path.read_text(encoding="utf-8")), name)


def test_no_golden_file_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(EVERY)
