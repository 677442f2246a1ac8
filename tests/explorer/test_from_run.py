"""A run's subjects hold what the run stored, whatever the kind of its transformer and however old it is."""

import importlib.util
import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from archaeology.capture import capture
from archaeology.core.storage import read_json, write_arrays, write_json
from archaeology.data.decoded import DecodedImages
from archaeology.dig.config import DigConfig
from archaeology.dig.directory import RunDirectory
from archaeology.dig.judging import Judged
from archaeology.dig.maps import draw_maps
from archaeology.dig.parts import Parts
from archaeology.dig.survey import Images
from archaeology.explain import explain_images
from archaeology.explorer.from_run import RunSubjects
from archaeology.explorer.pack import unpack


def made_up():
    """The module beside the report's tests that makes up run directories."""
    name = "archaeology_fixture_run"
    if name not in sys.modules:
        path = Path(__file__).parents[1] / "report" / "fixture_run.py"
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="module")
def old_run(tmp_path_factory):
    """As older versions wrote them: no maps but three, patterns in one array, nothing said of kinds or grids."""
    plan = made_up().Plan(num_images=30, num_layer_images=4, num_pairs=6)
    return RunDirectory(made_up().write_run(tmp_path_factory.mktemp("runs") / "old", plan))


def drawn_run(folder, vit, cnn, size):
    """A made-up run whose specimens.zarr is what a dig of these models writes."""
    plan = made_up().Plan(num_images=6, num_layer_images=3, num_pairs=2, image_size=size)
    made_up().write_run(folder, plan)
    rows = RunDirectory(folder).images.to_pylist()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, size, size), dtype=np.uint8)
    ids = tuple(row["id"] for row in rows)
    decoded = DecodedImages(
        pixels, np.zeros(6, np.int64), ids, vit.classes, None, None, (), "print", "name", None
    )
    arrays, attributes = draw_maps(
        {"vit": vit, "cnn": cnn},
        {"vit": "one", "cnn": "two"},
        {"vit": Judged(None, "nobody asked"), "cnn": Judged(None, "nobody asked")},
        Images.of(decoded, 3),
        rows,
        Parts(folder / "parts"),
        DigConfig(layer_images=3, pair_images=2),
    )
    write_arrays(folder / "specimens.zarr", arrays, attributes)
    run = read_json(folder / "run.json")
    for role, one in (("vit", vit), ("cnn", cnn)):
        run["models"][role] = {**one.describe()}
    write_json(folder / "run.json", run)
    return RunDirectory(folder), torch.from_numpy(pixels)


def whole_rows(run):
    return [int(row) for row in run.specimens.attrs["layer_images"]]


def test_an_old_run_opens_with_what_it_has(old_run):
    subjects = RunSubjects(old_run)
    entries = subjects.entries()
    assert len(entries) == len(set(subjects.ids)) == old_run.specimens["image_index"].shape[0]
    whole = {str(row) for row in whole_rows(old_run)}
    assert {entry["id"] for entry in entries[: len(whole)]} == whole  # those with patterns come first
    subject = unpack(subjects.subject(entries[0]["id"]).pack())
    vit, cnn = subject["models"]
    row = int(entries[0]["id"])
    place = whole_rows(old_run).index(row)
    stored = np.asarray(old_run.specimens["attention"][place]).astype(np.float32)
    for number, layer in enumerate(vit["attention"]["layers"]):
        assert (
            np.abs(layer["pattern"] - stored[number]) <= 0.004 * stored[number].max(-1, keepdims=True)
        ).all()
    at = np.asarray(old_run.specimens["image_index"]).tolist().index(row)
    relevance, rollout, _ = vit["maps"]
    assert (relevance["method"], rollout["method"]) == ("relevance", "rollout")  # the one chosen comes first
    np.testing.assert_allclose(relevance["values"], old_run.specimens["vit_map"][at])
    np.testing.assert_allclose(rollout["values"], 64 * old_run.specimens["rollout"][at], rtol=1e-5)
    assert rollout["shared"] and [found["method"] for found in cnn["maps"]] == ["grad_cam"]
    assert vit["logits"] is None and cnn["attention"] is None and cnn["heads"] == []


def test_heads_have_their_statistics_and_what_they_are_worth(old_run):
    subjects = RunSubjects(old_run)
    heads = subjects.subject(subjects.ids[0]).models[0].heads
    table = {(row["layer"], row["head"]): row for row in old_run.heads.to_pylist()}
    assert len(heads) == len(table) == 24
    for head in heads:
        row = table[head.layer, head.head]
        assert (head.label, head.entropy) == (row["label"], row["entropy"])
        effect = head.effect
        assert (effect.value, effect.low, effect.high, effect.n) == (
            *(row[f"ablation_accuracy{end}"] for end in ("", "_low", "_high")),
            row["ablation_n"],
        )
        assert (effect.tried, effect.verdict) == (24, row["verdict"])
    assert {head.effect.verdict for head in heads} <= {"needed", "not shown to matter"}
    packed = unpack(subjects.subject(subjects.ids[0]).pack())["models"][0]["heads"]
    assert [one["effect"]["verdict"] for one in packed] == [head.effect.verdict for head in heads]


def test_images_say_what_became_of_them(old_run):
    facts = old_run.images.to_pylist()
    for entry in RunSubjects(old_run).entries():
        fact = facts[int(entry["id"])]
        assert entry["group"] == fact["failure"] and entry["label"] == fact["label_name"]
        assert fact["id"] in entry["title"]
        assert {"vit-only": "Only the ViT wrong", "none": "Both right"}.get(
            entry["group"], entry["note"]
        ) == entry["note"]


def test_a_run_without_patterns_has_only_the_readouts(tmp_path):
    run = RunDirectory(
        made_up().write_run(tmp_path / "run", made_up().Plan(full_attention=False, num_images=30))
    )
    subjects = RunSubjects(run)
    subject = subjects.subject(subjects.ids[0])
    attention = subject.models[0].attention
    assert all(layer.pattern is None and layer.heads == 4 for layer in attention.layers)
    place = whole_rows(run).index(int(subject.id))
    np.testing.assert_allclose(
        attention.readout, np.asarray(run.specimens["readout"][place]).reshape(6, 4, 64)
    )
    with pytest.raises(ValueError, match="rows need queries and keys"):
        subjects.rows(subject.id, 0)


def test_thumbnails_are_small_pictures_and_unknown_images_an_error(old_run):
    subjects = RunSubjects(old_run)
    picture = Image.open(io.BytesIO(subjects.thumbnail(subjects.ids[0])))
    assert picture.format == "PNG" and picture.size == (32, 32)
    for ask in (subjects.subject, subjects.thumbnail, lambda name: subjects.rows(name, 0)):
        with pytest.raises(ValueError, match="No image of this run is called 'x'"):
            ask("x")


def test_a_dig_keeps_every_cheap_map_and_the_likeliest_classes(flat, cnn, tmp_path):
    run, pixels = drawn_run(tmp_path / "run", flat, cnn, 16)
    subjects = RunSubjects(run)
    others = [int(row) for row in run.specimens.attrs["other_images"]]
    for name in subjects.ids:
        row = int(name)
        image = pixels[row : row + 1]
        subject = subjects.subject(name)
        vit, second = subject.models
        assert len(vit.maps) == 10 and len(second.maps) == 4
        for specimen, model in ((flat, vit), (cnn, second)):
            logits = specimen.predict(image)[0].detach()
            assert [score.name for score in model.logits] == [
                specimen.classes[at] for at in logits.argsort(descending=True)
            ]
            for found in model.maps:
                wanted = explain_images(found.method, specimen, image).ranking[0].numpy()
                unit = wanted.size if "even share" in found.unit else 1
                np.testing.assert_allclose(found.values, unit * wanted, rtol=2e-3, atol=2e-5)
        record = capture(flat, image)
        for layer, seen in zip(vit.attention.layers, record.attentions, strict=True):
            assert (layer.pattern is None) == (row in others)
            if layer.pattern is not None:
                np.testing.assert_allclose(layer.pattern, seen.pattern[0], atol=1e-3)
        wanted = torch.stack([seen.pattern[0, :, 0, 3:] for seen in record.attentions])
        np.testing.assert_allclose(vit.attention.readout, wanted, atol=1e-3)


def test_a_dig_keeps_windows_with_their_places(swin, cnn, tmp_path):
    run, pixels = drawn_run(tmp_path / "run", swin, cnn, 32)
    subjects = RunSubjects(run)
    row = whole_rows(run)[1]
    attention = subjects.subject(str(row)).models[0].attention
    record = capture(swin, pixels[row : row + 1])
    assert attention.kind == "window" and attention.readout is None
    for layer, seen in zip(attention.layers, record.attentions, strict=True):
        assert (layer.rows, layer.columns) == (seen.places.rows, seen.places.columns)
        np.testing.assert_allclose(layer.pattern, seen.pattern, atol=1e-3)
        np.testing.assert_array_equal(layer.places, seen.places.index)


def test_a_dig_keeps_queries_and_keys_of_many_tokens(long, cnn, tmp_path):
    run, pixels = drawn_run(tmp_path / "run", long, replace(cnn), 36)
    subjects = RunSubjects(run)
    assert "attention" not in run.specimens and run.specimens["queries"].shape == (3, 2, 3, 325, 4)
    row = whole_rows(run)[2]
    record = capture(long, pixels[row : row + 1])
    whole = torch.stack([seen.pattern[0] for seen in record.attentions])
    attention = subjects.subject(str(row)).models[0].attention
    np.testing.assert_allclose(attention.readout, whole[:, :, 0, 1:], atol=1e-3)
    for query in (0, 100):
        np.testing.assert_allclose(subjects.rows(str(row), query), whole[:, :, query], rtol=0.02, atol=1e-5)
