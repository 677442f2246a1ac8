"""The page of models says what was measured, and what was measured can be measured again."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = json.loads((DOCS / "results" / "models.json").read_text(encoding="utf-8"))
SAMPLE = [
    ("timm", "deit"),
    ("timm", "mlp_mixer"),
    ("transformers", "swin"),
    ("torchvision", "swin_transformer"),
]


def script(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses look themselves up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


def kept(library, family):
    return next(row for row in RESULTS["families"] if (row["library"], row["family"]) == (library, family))


def test_the_page_is_as_generated():
    page = (DOCS / "models.md").read_text(encoding="utf-8")
    assert script("models").page(RESULTS) == page, "run: python docs/models.py"


def test_every_family_was_measured_once():
    assert [(row["library"], row["family"]) for row in RESULTS["families"]] == script("model_cases").cases()


def test_watching_changes_nothing_and_patterns_are_exact():
    seen = [row for row in RESULTS["families"] if row.get("layers")]
    assert len(seen) > 70
    for row in seen:
        assert row["observed"] <= 2e-6, row
        assert row["materialised"] <= 1e-4, row
        assert row["rows"] is None or row["rows"] <= 1e-5, row
        assert row.get("own") is None or row["own"] <= 1e-4, row


@pytest.mark.slow
@pytest.mark.parametrize(("library", "family"), SAMPLE)
def test_a_sample_measured_again(library, family, monkeypatch):
    if library == "transformers":
        pytest.importorskip("transformers")
    monkeypatch.syspath_prepend(str(DOCS))
    again, before = script("measure_models").measured(library, family), kept(library, family)
    exact = (
        "model",
        "image_size",
        "layers",
        "kinds",
        "routes",
        "places",
        "unplaced",
        "own_layers",
        "instead",
        "reason",
    )
    for name in exact:
        assert again.get(name) == before.get(name), name
