from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.robustness.models import CLASSES, network, own_answers, transformer

from archaeology.core.errors import UnknownNameError
from archaeology.data.corruptions import corrupt
from archaeology.robustness.corruptions import CorruptionErrors, corruption_errors

KINDS = ("contrast", "gaussian_noise", "pixelate")


def images(count):
    generator = torch.Generator().manual_seed(count)
    return torch.rand(count, 3, 33, 35, generator=generator, dtype=torch.float64)


def test_every_version_is_shown_to_every_model_one_after_the_other():
    models, some = [transformer(), network()], images(5)
    labels = own_answers(models[0], some)
    found = corruption_errors(models, some, labels, names=KINDS, seed=2, at_once=3)
    assert found.specimens == ("transformer", "network") and found.correct.shape == (2, 3, 5, 5)
    assert found.clean[0].all()
    for m, model in enumerate(models):
        for k, kind in enumerate(KINDS):
            for severity in (1, 2, 3, 4, 5):
                for i in range(5):
                    changed = corrupt(some[i : i + 1], kind, severity, seed=2)
                    right = bool(own_answers(model, changed)[0] == labels[i])
                    assert found.correct[m, k, severity - 1, i] == right


def by_hand(seed=0, n=41):
    """Two models on two kinds, errors of random images."""
    generator = np.random.default_rng(seed)
    clean = generator.random((2, n)) < np.array([[0.95], [0.9]])
    correct = generator.random((2, 2, 5, n)) < np.array([0.7, 0.5])[:, None, None, None]
    return CorruptionErrors(
        ("ours", "theirs"), ("fog", "contrast"), clean, correct & clean[:, None, None], seed
    )


def test_the_mean_corruption_error_is_that_of_the_paper():
    found = by_hand()
    ratios, relative = [], []
    for kind in range(2):
        sums = [sum(1 - found.correct[model, kind, s].mean() for s in range(5)) for model in range(2)]
        own = [1 - found.clean[model].mean() for model in range(2)]
        ratios.append(sums[0] / sums[1])
        relative.append((sums[0] - 5 * own[0]) / (sums[1] - 5 * own[1]))
    mce = found.mean_corruption_error("ours", "theirs")
    assert mce.value == pytest.approx(np.mean(ratios)) and mce.low < mce.value < mce.high < 1
    again = found.relative_corruption_error("ours", "theirs")
    assert again.value == pytest.approx(np.mean(relative)) and again.low < again.value < again.high
    assert found.mean_error("ours").value == pytest.approx((~found.correct[0]).mean())
    gap = found.difference("ours", "theirs")
    assert gap.value == pytest.approx((~found.correct[0]).mean() - (~found.correct[1]).mean())
    assert gap.high < 0
    itself = found.mean_corruption_error("theirs", "theirs")
    assert (itself.value, itself.low, itself.high) == pytest.approx((1, 1, 1))


def test_the_interval_of_the_ratio_covers_the_truth():
    hits = 0
    drawn = [by_hand(seed) for seed in range(60)]
    wrong = np.mean([(~each.correct).mean(axis=(1, 2, 3)) for each in drawn], axis=0)
    truth = wrong[0] / wrong[1]
    for each in drawn:
        interval = each.mean_corruption_error("ours", "theirs")
        hits += interval.low <= truth <= interval.high
    assert hits >= 51  # of 60; 57 expected


def test_a_reference_without_errors_gives_no_ratio():
    found = by_hand()
    found.correct[1, 0] = True
    interval = found.mean_corruption_error("ours", "theirs")
    assert np.isnan([interval.value, interval.low, interval.high]).all()
    described = found.describe("theirs")
    assert described["models"]["ours"]["mce"] is None and len(described["table"]) == 20
    assert described["corruptions"] == {"fog": "weather", "contrast": "digital"}


def test_bad_input_is_refused():
    model, some = network(), images(2)
    labels = torch.zeros(2, dtype=torch.long)
    with pytest.raises(UnknownNameError, match="did you mean 'fog'"):
        corruption_errors([model], some, labels, names=["fogg"])
    with pytest.raises(ValueError, match="names must be corruptions, each once and at least one"):
        corruption_errors([model], some, labels, names=["fog", "fog"])
    with pytest.raises(ValueError, match="one label for each, but got 2 images and 3 labels"):
        corruption_errors([model], some, torch.zeros(3, dtype=torch.long), names=["fog"])
    with pytest.raises(ValueError, match=f"labels must be classes of the model, 0 to {CLASSES - 1}"):
        corruption_errors([model], some, labels + CLASSES, names=["fog"])
    with pytest.raises(ValueError, match="with names of their own"):
        corruption_errors([model, replace(model)], some, labels, names=["fog"])
    with pytest.raises(ValueError, match="specimen must be one of ours, theirs, but got 'mine'"):
        by_hand().mean_error("mine")
    with torch.no_grad():
        next(model.model.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="answers must be finite"):
        corruption_errors([model], some, labels, names=["fog"])


def test_errors_by_kind_and_severity_vary_with_images_not_with_their_versions():
    """Ten images of forty are wrong in every version: as sure as ten of forty, not as ten times five of two hundred."""
    found = by_hand(n=40)
    found.correct[:] = True
    found.correct[0, :, :, :10] = False
    for row in (*found.errors_by_kind("ours"), *found.errors_by_severity("ours")):
        assert row["error"] == pytest.approx(0.25) and row["n"] == 40
        assert (row["error_low"], row["error_high"]) == (
            pytest.approx(0.127, abs=0.02),
            pytest.approx(0.412, abs=0.02),
        )
    found.correct[0, 0, 2, 10:20] = False
    first, second = found.errors_by_kind("ours")
    assert first["error"] == pytest.approx(0.25 + 0.25 / 5) and second["error"] == pytest.approx(0.25)
    by_severity = [row["error"] for row in found.errors_by_severity("ours")]
    assert by_severity == pytest.approx([0.25, 0.25, 0.375, 0.25, 0.25])
    models = found.describe()["models"]
    assert models["ours"]["by_kind"] == found.errors_by_kind("ours")
    assert [row["severity"] for row in models["theirs"]["by_severity"]] == [1, 2, 3, 4, 5]
