"""What the section on causes says where nothing could be named: how large it may still be."""

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
