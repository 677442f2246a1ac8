"""Models that hide their gradients are found out, each by the flag it deserves; plain ones are left in peace."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.robustness import models
from torch import nn

from archaeology.robustness import gradient_trial
from archaeology.robustness.flags import check_gradients
from archaeology.robustness.suspicion import judged, of_pairs, of_share
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen

COUNT = 37


@pytest.fixture(autouse=True)
def few_queries(monkeypatch):
    monkeypatch.setattr(gradient_trial, "QUERIES", 60)


class Saturated(nn.Module):
    """Logits so large that the probability of the answer is exactly 1."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixels):
        return 1e5 * self.model(pixels)


class Quantised(Saturated):
    """Pixels rounded to few levels: flat almost everywhere."""

    def forward(self, pixels):
        return self.model((pixels * 12).round() / 12)


class Backwards(Saturated):
    """Answers rightly, but its gradient points the other way."""

    def forward(self, pixels):
        logits = self.model(pixels)
        return 2 * logits.detach() - logits


class RandomResize(Saturated):
    """Looks at the image moved and blurred by chance."""

    def forward(self, pixels):
        size = [int(torch.randint(side - 2, side + 1, ())) for side in pixels.shape[-2:]]
        small = nn.functional.interpolate(pixels, size, mode="bilinear")
        return self.model(nn.functional.interpolate(small, pixels.shape[-2:], mode="bilinear"))


def hidden(kind):
    plain = models.network()
    return replace(plain, name=kind.__name__, model=kind(plain.model).double().eval())


def report(specimen, epsilon=0.04, **others):
    images = models.images(COUNT)
    labels = models.own_answers(models.network(), images)
    return check_gradients(specimen, images, labels, epsilon=epsilon, steps=5, **others)


def test_saturated_logits_have_no_gradient_and_fall_to_another_loss():
    found = report(hidden(Saturated))
    assert {"vanishing gradient", "another loss helps", "unbounded attack fails"} <= set(found.names)
    assert "random" not in found.names
    assert any("exactly 0 for" in sentence for sentence in found.flags)
    assert found.may_be_masked


def test_a_quantised_input_has_no_gradient_whatever_the_loss():
    found = report(hidden(Quantised), epsilon=0.1)
    assert {"vanishing gradient", "unbounded attack fails"} <= set(found.names)
    assert "another loss helps" not in found.names


def test_a_gradient_that_points_backwards_is_worse_than_noise():
    found = report(hidden(Backwards), epsilon=0.1)
    assert {"weaker than noise", "weaker than black box", "unbounded attack fails"} <= set(found.names)
    assert "vanishing gradient" not in found.names


def test_a_random_model_says_two_things_of_one_image():
    specimen = hidden(RandomResize)  # which seeds, to be made
    state = torch.get_rng_state()
    found = report(specimen)
    assert "random" in found.names
    assert torch.equal(state, torch.get_rng_state())
    assert found.describe() == report(hidden(RandomResize)).describe()


@pytest.mark.parametrize("build", [models.network, models.transformer])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_plain_models_are_not_accused(build, norm):
    specimen, images = build(), models.images(COUNT)
    labels = models.own_answers(specimen, images)
    found = check_gradients(
        specimen, images, labels, epsilon=0.04 if norm == "linf" else 0.4, norm=norm, steps=10
    )
    assert found.flags == () and found.names == () and not found.may_be_masked
    assert len(found.suspicions) == 9 and found.n == COUNT
    described = json.loads(json.dumps(found.describe(), allow_nan=False))
    assert len(described["suspicions"]) == 9


@pytest.mark.parametrize("name", ["convnet_cifar10", "vit_cifar10"])
def test_trained_models_are_not_accused(name):
    specimen = load(f"bundled:{name}", device="cpu")
    images = models.images(5, 32, 32).float()
    labels = models.own_answers(specimen, images)
    assert check_gradients(specimen, images, labels, epsilon=8 / 255, steps=4).flags == ()


def test_only_images_that_the_model_is_right_about_are_looked_at():
    specimen, images = models.network(), models.images(11)
    labels = models.own_answers(specimen, images)
    labels[[1, 4]] = (labels[[1, 4]] + 1) % models.CLASSES
    assert check_gradients(specimen, images, labels, steps=2).n == 9
    assert check_gradients(specimen, images, labels, steps=2, at_most=3).n == 3


def test_a_share_is_tested_against_what_is_allowed():
    seen = np.arange(50) < 4
    one = of_share("some", "", seen, 0.02)
    exact = 1 - sum(
        np.prod([(50 - j) / (j + 1) for j in range(k)]) * 0.02**k * 0.98 ** (50 - k) for k in range(4)
    )
    assert one.share == 0.08 and one.p_value == pytest.approx(exact)
    assert of_share("some", "", seen, 0.0).p_value == 0
    assert of_share("some", "", np.zeros(50, dtype=bool), 0.0).p_value == 1


def test_pairs_are_tested_by_their_signs():
    weak, strong = np.arange(30) < 12, np.arange(30) >= 10  # 10 only weak, 18 only strong
    assert of_pairs("some", "", strong, weak, 0.0).share == pytest.approx(8 / 30)
    none = of_pairs("some", "", weak, weak, 0.0)
    assert none.p_value == 1 and none.share == 0
    clear = of_pairs("some", "this breaks", weak, np.zeros(30, dtype=bool), 0.0)
    assert clear.p_value == pytest.approx(0.5**12)
    assert clear.sentence.endswith("12 only the former and 0 only the latter")


def test_large_and_no_accident_are_both_needed():
    many = np.arange(1000) < 30
    nothing = np.zeros(1000, dtype=bool)
    small, large = of_pairs("a", "", many, nothing, 0.05), of_pairs("b", "", many, nothing, 0.02)
    lucky = of_pairs("c", "", many[:50], ~many[:50] & (np.arange(50) < 50), 0.02)
    assert [one.raised for one in judged([small, large, lucky], 0.01)] == [False, True, False]
    one = judged([small, large, lucky], 0.01)[1]
    assert one.p_corrected >= large.p_value
    assert "(3.0% of images, 2% allowed; p = " in one.sentence


def test_errors():
    specimen, images = models.network(), models.images(3)
    labels = models.own_answers(specimen, images)
    with pytest.raises(ValueError, match="attack must follow gradients within an epsilon"):
        check_gradients(specimen, images, labels, attack="square")
    with pytest.raises(ValueError, match="epsilon must be above 0"):
        check_gradients(specimen, images, labels, epsilon=0.0)
    with pytest.raises(ValueError, match="needs an image that network is right about"):
        check_gradients(specimen, images, (labels + 1) % models.CLASSES)
    with pytest.raises(ValueError, match="at_most must be at least 1"):
        check_gradients(specimen, images, labels, at_most=0)
    with pytest.raises(ValueError, match="level lie between 0 and 1"):
        check_gradients(specimen, images, labels, level=1.0)
    deaf = Specimen("deaf", Deaf(specimen.model), "other", (), (6, 9))
    with pytest.raises(ValueError, match="must be differentiable"):
        check_gradients(deaf, images, labels)


class Deaf(Saturated):
    """No gradient reaches its images."""

    def forward(self, pixels):
        return self.model(pixels.detach())
