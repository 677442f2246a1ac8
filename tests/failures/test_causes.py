"""The planted cause is named first, nothing is named of clean data, and tests within classes are what they claim."""

import json

import numpy as np
import pytest
from scipy import stats
from tests.failures.made_up import decoded, fond_of_light, honest, pictures

from archaeology.core.intervals import wilson
from archaeology.core.many import corrected
from archaeology.core.storage import json_text
from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.failures import shortcuts
from archaeology.failures.causes import find_causes
from archaeology.failures.gatherings import gathering, within_classes
from archaeology.failures.planted import plant, plants


def test_every_planted_cause_is_named_first_and_nothing_else():
    for name in plants:
        made = plant(name, *pictures(400), target=1)
        model = fond_of_light if name == "bright_class" else honest
        found = find_causes(decoded(made.images, made.labels), {"toy:model": model})
        titles = [one.title for one in found.named]
        if name in ("nothing", "watermark"):  # the honest model does not read the mark
            assert titles == []
        elif name == "bright_class":
            assert titles == ["model knows bee by its brightness"]
        else:
            assert titles == ["About 5 of 100 labels are wrong"]
            assert found.named[0].effect.low < 0.05 < found.named[0].effect.high


def test_all_questions_are_corrected_together_and_counted():
    images, labels = pictures(200)
    found = find_causes(decoded(images, labels), {"one": honest, "two": fond_of_light})
    assert found.num_questions == len(found.asked) + len(found.gatherings) == 2 * (4 * 4 + 3 + 5) + 2
    p_values = [one.p_value for one in (*found.asked, *found.gatherings)]
    together = [one.p_corrected for one in (*found.asked, *found.gatherings)]
    np.testing.assert_allclose(together, corrected(np.array(p_values)))


def test_copies_are_named_where_there_are_more_than_a_few():
    images, labels = pictures(300)
    images[250:] = images[:50]
    labels[250:] = labels[:50]
    found = find_causes(decoded(images, labels), {"model": honest})
    assert [one.title for one in found.named] == ["50 of 300 images are there more than once"]
    other, _ = pictures(100, seed=1)
    training = decoded(np.concatenate([other, images[:60]]), np.zeros(160, np.int64))
    across = find_causes(decoded(images[:200], labels[:200]), {"model": honest}, training=training)
    assert [one.title for one in across.named] == ["60 of 200 images are in the training set, too"]


def test_an_attribute_that_breaks_a_model_is_named_where_setting_it_mends():
    images, labels = pictures(600)
    dim = np.arange(600) % 5 == 0
    images[dim] = images[dim] // 3

    def blind_in_the_dark(unit):
        logits = honest(unit).clone()
        logits[unit.mean(dim=(1, 2, 3)) < 0.2] = logits[unit.mean(dim=(1, 2, 3)) < 0.2].roll(1, dims=1)
        return logits

    found = find_causes(decoded(images, labels), {"model": blind_in_the_dark})
    assert "model fails on images that are dark" in [one.title for one in found.named]
    assert found.named[0].effect.value > 0.5
    assert "The other way, only " in found.named[0].text  # what is dark cannot be darkened as much


def test_a_hard_class_does_not_pass_for_a_cause():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200)
    values = random.normal(0, 1, 400) + 3.0 * labels  # one class is brighter
    right = random.random(400) < np.where(labels == 1, 0.4, 0.9)  # and harder
    assert stats.mannwhitneyu(values[right], values[~right]).pvalue < 1e-9
    assert within_classes(values, labels, right) > 0.01
    found = gathering("model", "brightness", values, labels, right)
    assert found.difference.low < 0 < found.difference.high
    assert sum(share.n for share in found.shares) == 400 and {share.n for share in found.shares} == {80}


def test_the_test_within_classes_is_that_by_permutation_and_keeps_its_level():
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 60)
    values, right = random.normal(size=60), random.random(60) < 0.6
    right[values > 0.7] = True
    rank = np.zeros(60)
    for one in range(3):
        rank[labels == one] = (stats.rankdata(values[labels == one]) - 0.5) / (labels == one).sum()
    seen = sum((rank * right)[labels == one].sum() for one in range(3))
    expected = sum(rank[labels == one].mean() * right[labels == one].sum() for one in range(3))
    dealt = []
    for _ in range(20_000):
        mixed = right.copy()
        for one in range(3):
            mixed[labels == one] = random.permutation(mixed[labels == one])
        dealt.append((rank * mixed).sum())
    by_permutation = np.mean(np.abs(np.array(dealt) - expected) >= abs(seen - expected) - 1e-12)
    assert within_classes(values, labels, right) == pytest.approx(by_permutation, abs=0.015)
    by_chance = [within_classes(random.normal(size=60), labels, right) < 0.05 for _ in range(400)]
    assert wilson(int(sum(by_chance)), 400).low < 0.05 < wilson(int(sum(by_chance)), 400).high + 0.02


def test_the_document_is_json_and_has_rows_of_the_images():
    made = plant("bright_class", *pictures(300), target=1)
    images = decoded(made.images, made.labels)
    document = json.loads(json_text(find_causes(images, {"toy": fond_of_light}).describe()))
    first = document["causes"][0]
    assert first["kind"] == "shortcut" and first["effect"]["n"] > 0
    assert all(0 <= row < 300 for row in first["examples"]) and len(first["examples"]) == 6
    assert len(document["asked"]) + len(document["attributes"]) == document["num_questions"]


def test_marks_are_looked_for_once_for_all_models(monkeypatch):
    made = plant("watermark", *pictures(200), target=1)
    calls, find = [], shortcuts.find_mark
    monkeypatch.setattr(
        shortcuts, "find_mark", lambda *given, **named: calls.append(given[2]) or find(*given, **named)
    )
    find_causes(decoded(made.images, made.labels), {"one": honest, "other": fond_of_light})
    assert calls == [0, 1, 2, 3]


def test_drawings_that_happen_to_be_alike_are_no_copies():
    scenes = Shapes2D(seed=4, size=32, num_shapes=(1, 1), radii=(7.0, 12.0)).generate(0, 800)
    labels = scenes.kind[:, 0].numpy().astype(np.int64)
    made = plant("bright_class", scenes.input.numpy(), labels, target=1, seed=4)
    found = find_causes(decoded(made.images, made.labels), {"toy": honest})
    assert [one.kind for one in found.named] == []


def test_the_same_twice():
    images, labels = pictures(200)
    made = plant("bright_class", images, labels, target=0)
    one, other = (
        find_causes(decoded(made.images, made.labels), {"toy": lambda x: fond_of_light(x, target=0)}, seed=3)
        for _ in range(2)
    )
    assert json_text(one.describe()) == json_text(other.describe())


def test_bad_input():
    images, labels = pictures(40)
    with pytest.raises(ValueError, match="labelled images"):
        find_causes(decoded(images, labels - 1), {"model": honest})
    with pytest.raises(ValueError, match="at least one model"):
        find_causes(decoded(images, labels), {})
    with pytest.raises(ValueError, match="two classes"):
        find_causes(decoded(images, 0 * labels, classes=("one",)), {"model": honest})
    with pytest.raises(ValueError, match="logit for each"):
        find_causes(decoded(images, labels), {"model": lambda x: honest(x)[:, :2]})


def test_few_images_of_each_class_are_asked_nothing_about_it_and_nothing_breaks():
    images, labels = pictures(16)
    found = find_causes(decoded(images, labels), {"model": honest})
    assert not found.named and found.label_errors.reason
