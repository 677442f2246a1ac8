"""Naming images by words: the nearest sentence wins, ensembles are means, and wording matters only where it does."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

import archaeology
from archaeology.core.intervals import bootstrap_mean
from archaeology.core.many import corrected
from archaeology.represent.templates import PHOTOS, prompts
from archaeology.represent.zero_shot import ZeroShot, class_features, cochran, sensitivity, zero_shot
from archaeology.specimens.image_text import ImageTextModel

CLASSES = ("cat", "hot_dog", "axolotl")


@dataclass
class Stub:
    """Images lie where their first pixel says, texts where their words say; `confused` templates mix classes up."""

    confused: tuple[str, ...] = ()
    name: str = "stub"
    image_size: tuple[int, int] = (4, 4)
    scale: float | None = 10.0
    classes: tuple[str, ...] = ()
    wordings: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def encode_images(self, images):
        return F.normalize(torch.eye(5)[images[:, 0, 0, 0].long()] + 0.3 * images[:, 1, 0, :1], dim=-1)

    def encode_texts(self, texts):
        self.asked += texts
        found = torch.zeros(len(texts), 5)
        for row, text in enumerate(texts):
            number = [name.replace("_", " ") in text for name in CLASSES].index(True)
            is_mixed = any(text.startswith(word) for word in self.confused)
            found[row, (number + 1) % 3 if is_mixed else number] = 1 + len(text) / 50
            found[row, 4] = len(text) / 100
        return F.normalize(found, dim=-1)


def scenes(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.rand(count, 3, 4, 4, generator=generator)
    images[:, 0, 0, 0] = labels
    return images, labels


def test_a_stub_is_a_model():
    assert isinstance(Stub(), ImageTextModel)
    assert archaeology.zero_shot is zero_shot


def test_names_are_put_into_templates():
    assert prompts("a {} or the {}", ("cat", "hot_dog")) == ["a cat or the cat", "a hot dog or the hot dog"]
    stub = Stub()
    images, labels = scenes(6)
    assert zero_shot(stub, images, labels, CLASSES).templates == PHOTOS
    stub.wordings = ("see {}",)
    assert zero_shot(stub, images, labels, CLASSES).templates == ("see {}",)
    assert stub.asked[-1] == "see axolotl"


def test_against_loops():
    templates = ("a {}", "wrong {} here", "the {} of old")
    stub = Stub(confused=("wrong",))
    images, labels = scenes(31)
    found = zero_shot(stub, images, labels, CLASSES, templates=templates, batch_size=7)
    for image, label in zip(images, labels.tolist(), strict=True):
        seen = stub.encode_images(image[None])[0].double()
        sums = torch.zeros(3, 5, dtype=torch.double)
        row = int((images == image).flatten(1).all(1).nonzero()[0, 0])
        for number, template in enumerate(templates):
            texts = [template.replace("{}", name.replace("_", " ")) for name in CLASSES]
            each = torch.stack([stub.encode_texts([text])[0].double() for text in texts])
            assert found.predicted[number, row] == int((each @ seen).argmax())
            sums += each / len(templates)
        cosines = torch.tensor([float(seen @ one / one.norm()) for one in sums])
        assert found.ensemble[row] == int(cosines.argmax())
        assert found.sureness[row] == pytest.approx(float((10 * cosines).softmax(0).max()), abs=1e-5)
        assert found.labels[row] == label
    assert [each.value for each in found.accuracies] == [1, 0, 1] and found.accuracy.value == 1
    assert found.chance == pytest.approx(1 / 3)


def test_no_sureness_without_a_softmax_that_was_learnt():
    images, labels = scenes(12)
    with_scale, without = (
        zero_shot(Stub(scale=scale), images, labels, CLASSES, templates=("a {}",)) for scale in (10.0, None)
    )
    assert with_scale.notes == () and with_scale.numbers()["mean_sureness"] > 1 / 3
    assert without.sureness is None and without.numbers()["mean_sureness"] is None
    assert "trained with that softmax (CLIP), not with a sigmoid" in without.numbers()["notes"][0]
    np.testing.assert_array_equal(with_scale.ensemble, without.ensemble)


def test_features_of_classes_have_length_one():
    found = class_features(Stub(), CLASSES, PHOTOS)
    assert found.shape == (len(PHOTOS), 3, 5)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(len(PHOTOS), 3))


def test_wording_that_matters_is_named_and_other_is_not():
    images, labels = scenes(60)
    found = zero_shot(
        Stub(confused=("bad",)), images, labels, CLASSES, templates=("a {}", "the {}", "bad {}")
    )
    assert found.sensitivity.p_value < 1e-6 and found.sensitivity.gap.value == 1
    assert any(said.startswith("Wording matters") for said in found.findings)
    worse = next(each for each in found.against_ensemble if each.template == "bad {}")
    assert worse.p_corrected < 1e-6 and worse.difference.value == 1
    alike = zero_shot(Stub(), images, labels, CLASSES, templates=("a {}", "the {}"))
    assert alike.sensitivity.p_value == 1 and alike.sensitivity.beyond_chance == 0
    assert any("is not shown" in said for said in alike.findings)
    assert alike.luck_p_value < 0.001
    single = zero_shot(Stub(), images, labels, CLASSES, templates=("a {}",))
    assert single.sensitivity is None and not single.against_ensemble and single.gain.value == 0


def test_a_model_that_always_says_the_same_is_not_above_luck():
    images, labels = scenes(60)
    images[:, 0, 0, 0] = 1
    labels = torch.ones(60, dtype=torch.long)
    labels[:6] = 0
    found = zero_shot(Stub(), images, labels, CLASSES)
    assert found.accuracy.value == 0.9 and found.luck == pytest.approx(0.9)
    assert found.luck_p_value == 1 and "not surely above" in found.findings[0]
    assert found.by_class[2] is None and found.by_class[1].value == 1


def test_cochran_is_the_shuffling_test():
    generator = np.random.default_rng(3)
    right = generator.random((4, 90)) < np.array([0.5, 0.5, 0.62, 0.7])[:, None]
    totals = right.sum(axis=1)
    seen = ((totals - totals.mean()) ** 2).sum()
    beyond = 0
    for _ in range(4000):
        dealt = np.stack([generator.permutation(column) for column in right.T], axis=1).sum(axis=1)
        beyond += ((dealt - dealt.mean()) ** 2).sum() >= seen
    assert cochran(right) == pytest.approx(beyond / 4000, abs=0.012)
    two = right[:2]
    only = [(two[0] & ~two[1]).sum(), (two[1] & ~two[0]).sum()]  # of two it is McNemar's without correction
    assert cochran(two) == pytest.approx(stats.chi2.sf((only[0] - only[1]) ** 2 / sum(only), 1))


def test_all_questions_are_one_family():
    images, labels = scenes(60)
    found = zero_shot(
        Stub(confused=("bad",)), images, labels, CLASSES, templates=("a {}", "the {}", "bad {}")
    )
    raw = [found.luck_p_value, found.sensitivity.p_value, *(each.p_value for each in found.against_ensemble)]
    holm = [
        found.luck_p_corrected,
        found.wording_p_corrected,
        *(each.p_corrected for each in found.against_ensemble),
    ]
    np.testing.assert_allclose(holm, corrected(np.array(raw)))
    assert found.num_questions == len(raw) == 5 and "all 5 questions" in found.findings[-1]
    assert holm[0] > raw[0]
    single = zero_shot(Stub(), images, labels, CLASSES, templates=("a {}",))
    assert single.luck_p_corrected == single.luck_p_value and single.wording_p_corrected is None
    assert single.num_questions == 1


def test_wording_is_said_only_after_correction():
    labels, answers = np.zeros(20, dtype=np.int64), np.zeros((3, 20), dtype=np.int64)
    answers[0, :4] = 1  # Cochran's Q has p 0.018, of five questions
    found = ZeroShot("m", ("a", "b"), ("{}", "a {}", "the {}"), labels, answers, answers[1], np.ones(20))
    assert found.sensitivity.p_value < 0.05 < found.wording_p_corrected
    assert any("is not shown" in said for said in found.findings)


def test_the_gap_is_that_of_one_pair():
    right = np.random.default_rng(0).random((8, 200)) < 0.5
    found = sensitivity(right)
    order = right.mean(axis=1)
    best, worst = right[order.argmax()], right[order.argmin()]
    expected = bootstrap_mean(best.astype(float) - worst, seed=0)
    assert found.gap.value == pytest.approx(expected.value)
    assert found.gap.low == pytest.approx(expected.low, abs=0.02)
    assert found.gap.value - found.gap.low == pytest.approx(found.gap.high - found.gap.value, abs=0.02)
    assert found.sd == pytest.approx(order.std(ddof=1))


def test_spread_beyond_chance_is_the_true_one():
    generator = np.random.default_rng(0)
    true = np.array([0.4, 0.5, 0.6])
    squares = []
    for _ in range(300):
        squares.append(sensitivity(generator.random((3, 40)) < true[:, None], seed=1).beyond_chance ** 2)
    plain = np.mean(squares)  # cutting at 0 lifts it a little
    assert plain == pytest.approx(0.1**2, abs=0.002)
    found = sensitivity(generator.random((3, 40)) < true[:, None])
    assert found.worst.low <= found.worst.value <= found.best.value <= found.best.high


def test_numbers_are_json():
    import json

    from archaeology.core.storage import json_text

    images, labels = scenes(12)
    told = json.loads(json_text(zero_shot(Stub(), images, labels, CLASSES).numbers()))
    assert told["n"] == 12 and len(told["templates"]) == len(PHOTOS) and told["by_class"]["cat"]["value"] == 1


BAD = [
    ({"classes": ("cat",)}, r"at least two classes to choose from, but got \['cat'\]"),
    ({"classes": ("cat", " ", "axolotl")}, r"must have a name, but that of class 1 is empty"),
    ({"classes": ("cat", "hot_dog", "Hot dog")}, r"must all be different.*'hot dog' comes twice"),
    ({"templates": ("a photo",)}, r"must have \{\} where the name of the class goes.*'a photo' has none"),
    ({"templates": ("a {}", "a {}")}, r"must be there once, but 'a \{\}' comes twice"),
    ({"labels": torch.tensor([0, 1, -1, 0, 1, 2])}, r"0 to 2, but got -1 to 2; name every class"),
    ({"labels": torch.tensor([0, 1, 3, 0, 1, 2])}, r"but got 0 to 3"),
    ({"labels": torch.tensor([0, 1])}, r"got 6 images and 2 labels"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input(change, message):
    images, labels = scenes(6)
    given = {"labels": labels, "classes": CLASSES, "templates": ("a {}",)} | change
    with pytest.raises(ValueError, match=message):
        zero_shot(Stub(), images, given["labels"], given["classes"], templates=given["templates"])


def test_no_image_and_no_numbers():
    images, labels = scenes(6)
    with pytest.raises(ValueError, match="got 0 images and 0 labels"):
        zero_shot(Stub(), images[:0], labels[:0], CLASSES)
    with pytest.raises(ValueError, match="features must be finite, but those of images by stub"):
        zero_shot(Stub(), broken(images), labels, CLASSES)
    with pytest.raises(ValueError, match="two templates or more and an image, but got 1 and 6"):
        sensitivity(np.ones((1, 6), dtype=bool))


def broken(images):
    images = images.clone()
    images[2, 1] = torch.inf
    return images
