"""results.json follows its published schema, with labels and without, and the schema describes every field."""

import json
from copy import deepcopy

import pytest
from jsonschema import Draft202012Validator, ValidationError

from archaeology.core.storage import plain_json
from archaeology.dig.findings import findings, headline
from archaeology.dig.results import RESULTS_SCHEMA, RESULTS_VERSION, marked, schema_text
from archaeology.dig.run import dig

QUICK = {"images": 12, "layer_images": 2, "pair_images": 3, "threads": 1, "robustness_images": 0}


@pytest.fixture(scope="module")
def schema():
    return json.loads(schema_text())


@pytest.fixture(scope="module")
def labelled(tiny, tmp_path_factory):
    """results.json of a small dig with labels and leaderboards."""
    out = tmp_path_factory.mktemp("results") / "labelled"
    return dig(
        tiny["vit"], tiny["cnn"], "cue_conflict", out=out, judge_images=4, pruning_images=6, **QUICK
    ).results


@pytest.fixture(scope="module")
def unlabelled(tiny, tmp_path_factory):
    """The same on a folder of images without labels."""
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("plain")
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    out = tmp_path_factory.mktemp("results") / "unlabelled"
    return dig(tiny["vit"], tiny["cnn"], f"folder:{folder}", out=out, judge_images=0, **QUICK).results


def objects(node, path="results"):
    """Every part of the schema that describes a value, with its place."""
    if isinstance(node, dict):
        for key, value in (node.get("properties") or {}).items():
            yield f"{path}.{key}", value
            yield from objects(value, f"{path}.{key}")
        for key in ("items", "additionalProperties"):
            yield from objects(node.get(key), f"{path}[]")
        for key, value in (node.get("$defs") or {}).items():
            yield f"$defs.{key}", value
            yield from objects(value, f"$defs.{key}")


def test_the_schema_is_valid_and_describes_every_field(schema):
    Draft202012Validator.check_schema(schema)
    described = list(objects(schema))
    assert len(described) > 80
    assert [place for place, one in described if not one.get("description", "").endswith((".", "?"))] == []
    assert (
        schema["$id"] == RESULTS_SCHEMA and schema["properties"]["schema_version"]["const"] == RESULTS_VERSION
    )


@pytest.mark.parametrize("name", ["labelled", "unlabelled"])
def test_a_dig_writes_what_the_schema_says(name, schema, request):
    results = request.getfixturevalue(name)
    Draft202012Validator(schema).validate(results)
    assert list(results)[:3] == ["$schema", "schema_version", "headline"]
    assert (results["accuracy"] is None) == (name == "unlabelled")


def broken(results, change):
    other = deepcopy(results)
    change(other)
    return other


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.pop("headline"),
        lambda one: one.update(surprise=1),
        lambda one: one.update(schema_version=99),
        lambda one: one["accuracy"]["vit"].pop("low"),
        lambda one: one["accuracy"]["vit"].update(n="many"),
        lambda one: one.update(accuracy=None),
        lambda one: one["findings"].append({"title": "A claim without evidence"}),
    ],
)
def test_what_breaks_the_schema_is_noticed(change, labelled, schema):
    with pytest.raises(ValidationError):
        Draft202012Validator(schema).validate(broken(labelled, change))


def test_findings_of_the_schema_are_those_that_are_written(schema):
    gap = {"value": -0.07, "low": -0.1, "high": -0.04, "n": 1000, "method": "paired bootstrap"}
    share = {"value": 0.8, "low": 0.77, "high": 0.82, "n": 1000, "method": "wilson"}
    results = {
        "accuracy": {"vit": share, "cnn": share, "difference": gap},
        "mcnemar": {"only_vit_right": 50, "only_cnn_right": 120, "n": 1000, "p_value": 1e-7},
        "failures": None, "n": 1000, "leaderboard": {}, "not_judged": {}, "pruning": None, "not_attacked": "",
        "not_dissected": "",
    }  # fmt: skip
    found = findings(results, [])
    assert len(found) == 1
    written = plain_json(
        marked({"headline": headline(results), **results, "num_questions": 1, "findings": found})
    )
    Draft202012Validator(schema).validate(written)
