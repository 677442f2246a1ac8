"""What the section on causes says where nothing could be named: how large it may still be."""

from dataclasses import asdict

import pytest

from archaeology.core.intervals import wilson
from archaeology.core.storage import write_json
from archaeology.dig.directory import SCHEMA_VERSION, RunDirectory
from archaeology.report.causes import causes


def document(**other):
    share = wilson(3, 200)
    return {
        "n": 200,
        "num_questions": 40,
        "causes": [],
        "asked": [],
        "label_errors": {
            "reason": "",
            "share": {"value": share.value, "low": share.low, "high": share.high},
            "suspects": [4, 7],
        },
        "duplicates": {"pairs": [[0, 3], [1, 3]], "within": True},
    } | other


def test_what_was_not_shown_is_not_denied_and_comes_with_its_interval(tmp_path):
    write_json(tmp_path / "run.json", {"schema_version": SCHEMA_VERSION, "status": "complete"})
    write_json(tmp_path / "causes.json", document())
    found = causes(RunDirectory(tmp_path))
    assert "None could be named after correction" in found.opening and "chance" not in found.opening
    notes = " ".join(found.notes).replace("\u2009", " ").replace("\u00a0", " ").replace("\u202f", " ")
    assert "not shown to be more than mistakes of the models explain: estimate 1.5" in notes
    assert "not shown to be more than one in a hundred: 0.5" in notes and "(0.1 to 2.8)" in notes


@pytest.mark.parametrize(("p", "said"), [(0.001, "more often than by chance"), (0.4, "not shown to differ")])
def test_accuracy_on_copies_is_told_with_whether_it_differs(tmp_path, p, said):
    copied, others = wilson(38, 40), wilson(80, 100)
    row = {"model": "hub:vit", "copied": asdict(copied), "others": asdict(others)}
    row |= {"difference": {"value": 0.15, "low": 0.02, "high": 0.25}, "p_value": p, "p_corrected": p}
    copies = {"pairs": [[0, 3]], "within": False, "right": [row]}
    write_json(tmp_path / "run.json", {"schema_version": SCHEMA_VERSION, "status": "complete"})
    write_json(tmp_path / "causes.json", document(duplicates=copies, level=0.05))
    found = causes(RunDirectory(tmp_path))
    assert found is not None
    notes = " ".join(found.notes).replace("\u2009", " ").replace("\u00a0", " ").replace("\u202f", " ")
    assert "On 40 images with a copy vit is right in 95.0 % (" in notes and said in notes
    assert "on 100 others of their classes in 80.0 % (" in notes
