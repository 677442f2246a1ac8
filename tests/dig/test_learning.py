"""Ways of learning side by side: only what a test finds is said, floors are floors, and nobody is asked twice."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.dig.made_up_learning import comparison

from archaeology.capture.attention import Attention
from archaeology.core.errors import BadImageError, SelfCheckError
from archaeology.core.storage import json_text, write_json, write_tensors
from archaeology.data.cache import decode_once
from archaeology.data.decoded import DecodedImages
from archaeology.dig import learning, learning_images, learning_measures
from archaeology.dig.learning import compare_learning, differences_of, way_of
from archaeology.dig.learning_images import Images, Limits, notes_of, open_images
from archaeology.dig.learning_measures import (
    Asked,
    _of_layer,
    attention_samples,
    by_few_shots,
    by_neighbours,
    by_probe,
    object_shares,
    shape_samples,
    under_attack,
)
from archaeology.models import ViT
from archaeology.represent.backbone import backbone, pixels
from archaeology.robustness.shape_bias import ShapeBias
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.load import load
from archaeology.specimens.module import of_module

SMALL = Limits(known=60, probe=45, asked=30, few=9, attention=6, neighbours=5, shots=4, draws=2, steps=2)
MISSING = ("linear probe", "transfer", "shape share", "attention")
SIZES = {"image_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}


def pictures(count, seed):
    """Three classes that differ by their colour, with noise."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = generator.integers(0, 90, (count, 32, 32, 3))
    for row, label in enumerate(labels):
        images[row, ..., label] += 100
    return images.astype(np.uint8), labels


def decoded(count, seed, **more):
    images, labels = pictures(count, seed)
    ids = tuple(f"{seed}-{row}" for row in range(count))
    moved = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    given = {"boxes": None, "masks": None} | more
    return DecodedImages(
        moved,
        labels,
        ids,
        ("red", "green", "blue"),
        skipped=(),
        fingerprint="f",
        name="n",
        split=None,
        **given,
    )


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))
    (train, known), (test, asked) = pictures(60, 1), pictures(30, 2)
    np.savez(tmp_path / "a.npz", train_images=train, train_labels=known, test_images=test, test_labels=asked)
    return f"npz:{tmp_path / 'a.npz'}"


@pytest.fixture
def runs(tmp_path):
    """Two checkpoint folders, as of a supervised recipe and of one without labels."""
    specs = []
    for number, recipe in enumerate(("vit_made_up", "vit_made_up_self_distilled")):
        torch.manual_seed(number)
        arguments = {**SIZES, "pooling": ("mean", "class_token")[number]}
        folder = tmp_path / recipe
        write_tensors(folder / "model.safetensors", ViT(**arguments).state_dict(), {"format": "pt"})
        about = {"format": 1, "architecture": "vit", "arguments": arguments, "image_size": [32, 32]}
        about |= {"classes": ["red", "green", "blue"], "mean": [0.5] * 3, "std": [0.5] * 3}
        write_json(folder / "config.json", {**about, "facts": {"recipe": recipe}})
        specs.append(f"run:{folder}")
    return specs


def test_end_to_end(data, runs):
    found = compare_learning(runs, data=data, limits=SMALL, names={runs[1]: "dino"}, device="cpu")
    assert [subject.name for subject in found.subjects] == [
        "vit_made_up",
        "dino",
        "random weights of vit_made_up",
        "random weights of dino",
        "raw pixels",
    ]
    assert [subject.way for subject in found.subjects[:2]] == ["supervised", "self-distilled"]
    assert found.subjects[1].twin == "random weights of dino" and found.reference == "vit_made_up"
    assert {measure.name for measure in found.measures} == {
        "k-NN", "linear probe", "few-shot", "attacked", "corrupted", "attention spread", "attention distance",
        "shape share",
    } - ({"shape share"} if found.value("shape share", "dino") is None else set())  # fmt: skip
    assert found.value("k-NN", "raw pixels").interval.value > 0.9  # colours can be told from pixels
    for value in found.values:
        assert value.samples.mean() == pytest.approx(value.interval.value, abs=1e-9), value.measure
        assert value.interval.low - 1e-9 <= value.interval.value <= value.interval.high + 1e-9
    assert found.value("attention spread", "raw pixels") is None
    assert any("the class token of dino" in note for note in found.notes)
    told = json.loads(json_text(found.numbers()))
    assert told["num_questions"] == len(found.differences) == len(told["differences"])
    assert found.settings["known"] == 60 and found.settings["asked"] == 30


def test_two_random_models_do_not_surely_differ(data, runs):
    limits = replace(SMALL, few=0, attention=0, shots=0)
    found = compare_learning(runs, data=data, limits=limits, device="cpu")
    assert {measure.name for measure in found.measures} == {"k-NN", "linear probe"}
    assert not any(each.side for each in found.differences if each.against in ("reference", "random"))
    assert "does not surely differ" in " ".join(found.findings)


def test_transfer_and_no_floors(data, runs):
    limits = replace(SMALL, few=0, attention=0, shots=0)
    found = compare_learning(
        runs[:1], data=data, transfer=data, limits=limits, has_floors=False, device="cpu"
    )
    assert len(found.subjects) == 1 and not found.differences
    one, other = (found.value(name, "vit_made_up").interval for name in ("transfer", "linear probe"))
    assert one == other
    assert "was not held against a floor" in found.findings[0]


def test_a_class_of_few_images_is_probed_all_the_same(tmp_path, monkeypatch, runs):
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))
    (train, known), (test, asked) = pictures(60, 1), pictures(30, 2)
    for left in (1, 2):
        rows = np.concatenate([np.flatnonzero(known != 2), np.flatnonzero(known == 2)[:left]])
        arrays = {"train_images": train[rows], "train_labels": known[rows]}
        np.savez(tmp_path / f"{left}.npz", **arrays, test_images=test, test_labels=asked)
        limits = replace(SMALL, few=6, attention=0, shots=0)
        place = f"npz:{tmp_path / f'{left}.npz'}"
        found = compare_learning(
            runs[:1], data=place, transfer=place, limits=limits, has_floors=False, device="cpu"
        )
        assert {"linear probe", "transfer", "attacked"} <= {value.measure for value in found.values}
        assert not found.notes


def test_what_cannot_be_asked_ends_nothing_else(data, runs, monkeypatch):
    def broken(*_):
        raise ValueError("no way")

    monkeypatch.setattr(learning, "shape_answers", broken)
    monkeypatch.setattr(learning, "attention_samples", broken)
    monkeypatch.setitem(learning_measures.SIMPLE, "linear probe", broken)
    found = compare_learning(runs[:1], data=data, transfer=data, limits=SMALL, has_floors=False, device="cpu")
    assert {measure.name for measure in found.measures} == {"k-NN", "few-shot", "attacked", "corrupted"}
    wanted = {f"{what} of vit_made_up was not asked: no way" for what in MISSING}
    assert wanted <= set(found.notes)


def test_one_part_is_halved_and_copies_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))
    images, labels = pictures(41, 1)
    images[20] = images[3]
    labels[20] = labels[3]
    np.savez(tmp_path / "a.npz", train_images=images, train_labels=labels)
    found = open_images(f"npz:{tmp_path / 'a.npz'}", None, None, (64, 64), SMALL, 0)
    assert found.asked.images.shape[-2:] == (32, 32)  # never larger than they are
    own, other = (
        {image.tobytes() for image in np.asarray(part.images)} for part in (found.known, found.asked)
    )
    assert not own & other and len(found.known) + len(found.asked) in (40, 41)


def folder_of(place, sizes):
    """Three classes as folders of pictures, the row-th of a class of the row-th size."""
    for part, seed in (("train", 1), ("test", 2)):
        for name in ("blue", "green", "red"):
            (place / part / name).mkdir(parents=True)
            for row, size in enumerate(sizes):
                pixels_of = np.random.default_rng([seed, row, len(name)]).integers(
                    0, 255, (*size, 3), np.uint8
                )
                Image.fromarray(pixels_of).save(place / part / name / f"{row}.png")
    return f"folder:{place}"


def test_both_parts_have_one_size_and_are_cropped_as_models_are_used_to(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))
    limits = replace(SMALL, neighbours=2)
    mixed = folder_of(tmp_path / "mixed", [(20, 24), (40, 50), (60, 33)])
    found = open_images(mixed, None, None, (32, 32), limits, 0)
    assert found.known.images.shape[-2:] == found.asked.images.shape[-2:] == (32, 32)
    cropped = open_images(mixed, None, None, (32, 32), limits, 0, crop_fraction=0.5)
    assert (np.asarray(cropped.asked.images) != np.asarray(found.asked.images)).any()
    small = folder_of(tmp_path / "small", [(20, 24)] * 3)
    found, cropped = (
        open_images(small, None, None, (32, 32), limits, 0, crop_fraction=fraction) for fraction in (1.0, 0.5)
    )
    assert found.known.images.shape[-2:] == (20, 24)
    np.testing.assert_array_equal(found.asked.images, cropped.asked.images)


def test_only_what_is_asked_for_is_decoded(data, monkeypatch):
    decoded_of = []

    def watched(source, size, **more):
        decoded_of.append(len(source))
        return decode_once(source, size, **more)

    monkeypatch.setattr(learning_images, "decode_once", watched)
    found = open_images(data, None, None, (32, 32), replace(SMALL, known=12, asked=9), 0)
    assert decoded_of == [12, 9] == [len(found.known), len(found.asked)]
    assert np.bincount(found.asked.labels).tolist() == [3, 3, 3]


def test_measures_against_loops():
    images = Images(decoded(36, 1), decoded(21, 2))
    one = Asked(pixels(), images, replace(SMALL, probe=36, neighbours=3), 0)
    known = one.known.values / np.linalg.norm(one.known.values, axis=1, keepdims=True)
    right = []
    for values, label in zip(one.asked.values, images.asked.labels, strict=True):
        nearest = np.argsort(-(known @ (values / np.linalg.norm(values))), kind="stable")[:3]
        right.append(np.bincount(images.known.labels[nearest], minlength=3).argmax() == label)
    np.testing.assert_array_equal(by_neighbours(one), right)
    said = one.classifier.predict(torch.from_numpy(np.array(images.asked.images))).argmax(1).numpy()
    np.testing.assert_array_equal(by_probe(one), said == images.asked.labels)
    assert set(np.unique(by_few_shots(one).by_image * 2)) <= {0, 1, 2}
    assert by_few_shots(one).by_image.mean() > 0.8
    with pytest.raises(ValueError, match="a class has only 12 known images, fewer than 13 shots"):
        by_few_shots(Asked(pixels(), images, replace(SMALL, shots=13), 0))


def test_a_larger_attack_breaks_more():
    images = Images(decoded(36, 1), decoded(21, 2))
    small, large = (
        under_attack(Asked(pixels(), images, replace(SMALL, probe=36, few=21, epsilon=epsilon), 0)).mean()
        for epsilon in (1 / 255, 0.5)
    )
    assert small > 0.9 and large == 0


def test_attention_against_loops():
    torch.manual_seed(0)
    model = ViT(**{**SIZES, "pooling": "class_token", "depth": 1}).eval()
    boxes = np.array([[0, 0, 8, 8], [8, 16, 32, 32], [0, 0, 32, 16.0]], dtype=np.float32)
    images = decoded(3, 1, boxes=boxes)
    from archaeology.capture import intercepted

    layout = TokenLayout(4, 4, ("class",))
    half = (0.5, 0.5, 0.5)
    own = of_module(model, name="m", image_size=(32, 32), mean=half, std=half, layout=layout)
    found = attention_samples(own, images)
    kept = []
    with torch.no_grad(), intercepted(own.model, lambda attention: kept.append(attention.pattern().clone())):
        own.predict(torch.from_numpy(images.images))
    pattern = kept[0].double().numpy()
    for row, (left, top, right, bottom) in enumerate(boxes):
        spread, far, mass = [], [], []
        for head in pattern[row]:
            spread.append(-(head[0] * np.log(head[0])).sum() / np.log(17))
            inside = [
                max(0, min(right, 8 * x + 8) - max(left, 8 * x))
                * max(0, min(bottom, 8 * y + 8) - max(top, 8 * y))
                / 64
                for y in range(4)
                for x in range(4)
            ]
            mass.append((head[0, 1:] * inside).sum() / head[0, 1:].sum() - np.mean(inside))
            for query in range(16):
                weights = head[1 + query, 1:]
                places = [8 * np.hypot(query // 4 - key // 4, query % 4 - key % 4) for key in range(16)]
                far.append((weights * places).sum() / weights.sum() / 32)
        assert found["attention spread"][row] == pytest.approx(np.mean(spread), abs=1e-5)
        assert found["attention distance"][row] == pytest.approx(np.mean(far), abs=1e-5)
        assert found["on the object"][row] == pytest.approx(np.mean(mass), abs=1e-5)
    assert attention_samples(pixels(), images) == {}


def test_who_has_no_attention_is_named(data, runs, monkeypatch):
    monkeypatch.setattr(learning, "attention_samples", lambda *_: {})
    found = compare_learning(
        runs[:1], data=data, limits=replace(SMALL, few=0, shots=0), has_floors=False, device="cpu"
    )
    assert any("none between tokens of one grid: vit_made_up" in note for note in found.notes)


def test_a_head_that_looks_at_no_patch_prefers_none():
    pattern = torch.zeros(1, 1, 5, 5)
    pattern[..., 0] = 1  # all look at the class token
    shape = (1, 1, 5, 5)
    attention = Attention(
        0, "m", "sdpa", "token", shape, True, lambda rows: pattern[:, :, rows], *[lambda: pattern] * 3
    )
    shares = torch.tensor([[1.0, 0, 0, 0]])
    found = _of_layer(attention, TokenLayout(2, 2, ("class",)), (4.0, 4.0), (8, 8), shares)
    assert found["on the object"].tolist() == [0]


def test_objects_by_mask_and_without():
    masks = np.zeros((2, 32, 32), dtype=bool)
    masks[:, :8, :4] = True
    found = object_shares(decoded(2, 1, masks=masks), TokenLayout(4, 4, ()))
    assert found[0].tolist() == [0.5] + [0.0] * 15
    assert object_shares(decoded(2, 1), TokenLayout(4, 4, ())) is None


def test_shape_samples_average_to_the_share():
    generator = np.random.default_rng(0)
    shape, texture = np.arange(50) % 4, (np.arange(50) + 1) % 4
    bias = ShapeBias(("m",), (np.inf,), tuple("abcd"), shape, texture, generator.integers(0, 4, (1, 1, 50)))
    assert shape_samples(bias, 0.3).mean() == pytest.approx(bias.share("m").value)


def test_only_what_is_sure_is_said():
    found = comparison()
    sides = {(each.measure, each.first, each.against): each.side for each in found.differences}
    assert sides["k-NN", "dino", "reference"] == -1 and sides["attacked", "dino", "reference"] == 1
    assert sides["corrupted", "dino", "reference"] == 0
    said = " ".join(found.findings)
    assert (
        "Over random weights, learning without labels (dino) buys k-NN, attacked and corrupted; lowers"
        in said
    )
    assert "Against labels, learning without labels (dino) buys attacked; costs k-NN" in said
    assert "not surely different: corrupted" in said


def test_each_of_them_is_each_of_them():
    made = comparison()
    other = replace(made.subjects[1], name="masked", way="masked")
    subjects = (*made.subjects[:2], other, *made.subjects[2:])
    copies = [replace(each, subject="masked") for each in made.values if each.subject == "dino"]

    def said(values, reference="labels"):
        differences = differences_of(subjects, values, reference, 0)
        found = replace(
            made, subjects=subjects, values=tuple(values), differences=differences, reference=reference
        )
        return " ".join(found.findings)

    everything = said([*made.values, *copies])
    assert "learning without labels (each of them) buys attacked; costs k-NN" in everything
    only = [each for each in copies if each.measure != "attacked"]
    assert "Against labels, learning without labels (each of them) costs k-NN" in said([*made.values, *only])
    none = [each for each in copies if each.measure == "corrupted"]
    assert "(each of them) surely changes nothing in which all agree" in said([*made.values, *none])
    assert "Against dino, learning without labels (masked) changes nothing surely" in said(
        [*made.values, *copies], reference="dino"
    )


def test_where_nothing_differs_nothing_is_said():
    for seed in range(20):
        right = {name: dict.fromkeys(("labels", "dino"), 0.5) for name in ("k-NN", "attacked", "corrupted")}
        found = comparison(seed=seed, right=right)
        asked = [each for each in found.differences if each.measure != "attention spread"]
        if any(each.side for each in asked):
            break
    assert seed == 19  # of 20 comparisons of alike models, none claims a difference


def test_every_question_is_counted():
    found = comparison()
    raw = np.array([each.p_value for each in found.differences])
    smallest = found.differences[int(raw.argmin())]
    assert smallest.p_corrected == pytest.approx(min(1, raw.min() * len(raw)))
    assert len(found.differences) == 2 * 4 + 2 * 2 + 4  # random: all four; pixels: two; reference: dino only
    assert differences_of(found.subjects[:1], found.values[:1], "labels", 0) == ()


def test_ways_are_told_by_recipe(runs):
    one, other = (load(spec, device="cpu") for spec in runs)
    assert way_of(one, runs[0]) == "supervised" and way_of(other, runs[1]) == "self-distilled"
    assert way_of(replace(one, facts={}), "timm:vit") == "unknown"
    assert way_of(replace(one, facts={}), "open_clip:ViT-B-32") == "image-text"
    assert backbone(other).facts["features"] == "the input of head"


def test_bad_input(data, runs, tmp_path):
    with pytest.raises(ValueError, match="each once, but got"):
        compare_learning([runs[0], runs[0]], data=data)
    with pytest.raises(ValueError, match=r"at least one specimen"):
        compare_learning([], data=data)
    with pytest.raises(ValueError, match=r"names of their own, but got"):
        compare_learning(runs, data=data, names=dict.fromkeys(runs, "raw pixels"), device="cpu")
    with pytest.raises(
        ValueError, match=r"at least as many known images as neighbours, but .* 60 are known and 61"
    ):
        compare_learning(runs, data=data, limits=replace(SMALL, neighbours=61), device="cpu")
    images, _ = pictures(30, 1)
    np.savez(tmp_path / "b.npz", train_images=images, train_labels=np.zeros(30, dtype=int))
    with pytest.raises(ValueError, match="must be of at least two classes, but are of 1"):
        compare_learning(runs, data=f"npz:{tmp_path / 'b.npz'}", limits=SMALL, device="cpu")
    np.savez(
        tmp_path / "c.npz",
        train_images=images,
        train_labels=np.arange(30) % 2,
        test_images=images,
        test_labels=np.arange(30) % 3,
    )
    with pytest.raises(ValueError, match=r"must have the same classes, but only one of them has 2; choose"):
        open_images(f"npz:{tmp_path / 'c.npz'}", None, None, (32, 32), SMALL, 0)
    with pytest.raises(ValueError, match="must have images with labels, but none of its 3 images has one"):
        open_images(unlabelled_folder(tmp_path / "plain"), None, None, (32, 32), SMALL, 0)


def unlabelled_folder(place):
    folder_of(place, [(20, 24)])
    for row, file in enumerate(sorted((place / "train").rglob("*.png"))):
        file.rename(place / f"{row}.png")
    shutil.rmtree(place / "train")
    shutil.rmtree(place / "test")
    return f"folder:{place}"


def test_the_same_part_twice_is_halved(data):
    limits = replace(SMALL, known=100, asked=100)
    found = open_images(data, "test", "test", (32, 32), limits, 0)
    assert len(found.known) == len(found.asked) == 15 and found.num_copies == 0
    assert not set(found.known.ids) & set(found.asked.ids)
    np.testing.assert_array_equal(np.bincount(found.known.labels), [5, 5, 5])


def test_what_was_left_out_of_the_images_is_noted(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))
    (train, known), (test, asked) = pictures(60, 1), pictures(30, 2)
    train[:4] = test[:4]
    rows = (known != 2) | (np.arange(60) < 4)  # the only one of class 2 is a copy
    arrays = {"train_images": train[rows], "train_labels": known[rows]}
    np.savez(tmp_path / "a.npz", **arrays, test_images=test, test_labels=asked)
    found = open_images(f"npz:{tmp_path / 'a.npz'}", None, None, (32, 32), SMALL, 0)
    assert found.num_copies == 4
    one, other = notes_of(found, SMALL, 0, "it")
    assert one == "of it 4 known images are left out: they are also asked about"
    assert other.startswith("no image of 2 of it is known, so that the 10 of 30 asked images of it cannot")
    whole = Images(decoded(60, 1), decoded(30, 2))
    assert notes_of(whole, SMALL, 0, "it") == ()
    (short,) = notes_of(whole, replace(SMALL, probe=2), 0, "it")
    assert "is shown to the probe, so that the 10 of 30" in short


def test_images_that_cannot_be_read_end_it_or_are_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))
    spec = folder_of(tmp_path / "a", 4 * [(20, 24)])
    (tmp_path / "a" / "train" / "red" / "0.png").write_text("no image")
    limits = replace(SMALL, neighbours=2)
    with pytest.raises(BadImageError, match=r"red/0\.png must be an image that can be decoded"):
        open_images(spec, None, None, (32, 32), limits, 0)
    found = open_images(spec, None, None, (32, 32), limits, 0, skip_bad=True)
    assert len(found.known) == 11
    assert notes_of(found, limits, 0, "it") == ("of it 1 image could not be read and was left out",)


def test_reasons_that_several_share_are_told_once():
    reasons = [("k-NN", "a", "no way"), ("k-NN", "b", "no way"), ("k-NN", "c", "other")]
    assert learning._told(reasons) == [
        "k-NN of a, b was not asked: no way",
        "k-NN of c was not asked: other",
    ]


def test_a_model_that_fails_its_own_check_ends_nothing():
    unasked = []
    with learning._noting("attention", "a", unasked):
        raise SelfCheckError("layer 3 is not reproduced")
    assert unasked == [("attention", "a", "layer 3 is not reproduced")]


def test_who_decides_by_neither_shape_nor_texture_is_named(data, runs, monkeypatch):
    nobody = ShapeBias(
        ("m",), (np.inf,), tuple("abc"), np.zeros(9, int), np.ones(9, int), np.full((1, 1, 9), 2)
    )
    monkeypatch.setattr(learning, "shape_answers", lambda *_: nobody)
    limits = replace(SMALL, attention=0, shots=0, corruptions=(), epsilon=0.0)
    found = compare_learning(runs[:1], data=data, limits=limits, has_floors=False, device="cpu")
    assert found.value("shape share", "vit_made_up") is None
    assert any(note.startswith("shape share is not given for vit_made_up: no image") for note in found.notes)


def test_the_interval_of_attention_is_no_interval_of_a_share():
    none = np.zeros(30)  # on the object: no head looks at any patch
    assert learning._value("on the object", "a", none, 0).interval.high == 0
    assert learning._value("k-NN", "a", none, 0).interval.high > 0.1


def test_objects_are_asked_about_where_they_are_marked():
    boxes = np.array([[0, 0, 8, 8], [np.nan] * 4, [0, 0, 32, 16.0]], dtype=np.float32)
    masks = np.zeros((3, 32, 32), dtype=bool)
    masks[0, :8] = True  # more exact than the box
    found = object_shares(decoded(3, 1, boxes=boxes, masks=masks), TokenLayout(4, 4, ()))
    assert found[0].tolist() == [1.0] * 4 + [0.0] * 12 and found[1].isnan().all()
    assert found[2].tolist() == [1.0] * 8 + [0.0] * 8
    images = decoded(3, 1, boxes=boxes)
    assert object_shares(replace(images, boxes=np.full((3, 4), np.nan)), TokenLayout(4, 4, ())) is None
    torch.manual_seed(0)
    model = ViT(**{**SIZES, "pooling": "class_token", "depth": 1}).eval()
    half, layout = (0.5, 0.5, 0.5), TokenLayout(4, 4, ("class",))
    own = of_module(model, name="m", image_size=(32, 32), mean=half, std=half, layout=layout)
    samples = attention_samples(own, images)
    assert {name: len(each) for name, each in samples.items()} == {
        "attention spread": 3,
        "attention distance": 3,
        "on the object": 2,
    }
    both = attention_samples(own, images.only(np.array([0, 2])))
    np.testing.assert_allclose(samples["on the object"], both["on the object"], rtol=1e-5)
    value = learning._value("on the object", "m", samples["on the object"], 0)
    assert learning._of_objects(images, [value]) == [
        "attention on the object is of the 2 of 3 images whose object is marked"
    ]
