"""Finished parts are found again by what went into them, and by nothing else."""

import numpy as np

from archaeology.dig.parts import Parts


def test_a_part_is_computed_once(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"numbers": np.arange(3), "names": np.array(["a", "bc"])}

    first, second = Parts(tmp_path), Parts(tmp_path)
    first.get("stage", ("weights", "pixels"), 5, compute)
    again = second.get("stage", ("weights", "pixels"), 5, compute)
    assert len(calls) == 1
    assert again["numbers"].tolist() == [0, 1, 2] and again["names"].tolist() == ["a", "bc"]
    assert first.computed == {"stage": 5} and first.reused == {}
    assert second.computed == {} and second.reused == {"stage": 5}


def test_other_ingredients_or_another_stage_are_another_part(tmp_path):
    parts = Parts(tmp_path)
    made = [
        parts.get(stage, ingredients, 1, lambda number=number: {"number": np.array(number)})["number"].item()
        for number, (stage, ingredients) in enumerate(
            [("a", ("x", "y")), ("a", ("xy",)), ("a", ("y", "x")), ("b", ("x", "y"))]
        )
    ]
    assert made == [0, 1, 2, 3]


def test_a_broken_part_is_made_again(tmp_path):
    parts = Parts(tmp_path)
    parts.get("stage", ("x",), 1, lambda: {"number": np.array(1)})
    (path,) = (tmp_path / "stage").iterdir()
    path.write_bytes(path.read_bytes()[:40])
    assert parts.get("stage", ("x",), 1, lambda: {"number": np.array(2)})["number"] == 2


def test_a_failing_computation_leaves_nothing_behind(tmp_path):
    def fail():
        raise RuntimeError("no")

    parts = Parts(tmp_path)
    try:
        parts.get("stage", ("x",), 1, fail)
    except RuntimeError:
        pass
    assert not list(tmp_path.rglob("*.npz")) and parts.computed.get("stage", 0) == 0
