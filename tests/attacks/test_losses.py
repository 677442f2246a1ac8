"""What attacks raise, image by image in loops."""

import math

import pytest
import torch

from archaeology.attacks.losses import LOSSES

LABELS = torch.tensor([3, 0, 6, 2])


def logits(classes=7):
    return 3 * torch.randn(4, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def by_loops(loss, row, label):
    others = [value for number, value in enumerate(row) if number != label]
    margin = max(others) - row[label]
    ranked = sorted(row, reverse=True)
    return {
        "cross_entropy": math.log(sum(math.exp(value) for value in row)) - row[label],
        "margin": margin,
        "dlr": margin / (ranked[0] - ranked[2]),
    }[loss]


@pytest.mark.parametrize("loss", LOSSES)
def test_as_in_loops(loss):
    values = logits()
    wanted = [by_loops(loss, row, label) for row, label in zip(values.tolist(), LABELS.tolist(), strict=True)]
    torch.testing.assert_close(LOSSES[loss](values, LABELS), torch.tensor(wanted, dtype=torch.float64))


@pytest.mark.parametrize("loss", ["margin", "dlr"])
def test_above_zero_exactly_where_the_model_is_wrong(loss):
    values = logits()
    wrong = values.argmax(dim=1) != LABELS
    assert wrong.any()
    assert torch.equal(LOSSES[loss](values, LABELS) > 0, wrong)
    assert (LOSSES[loss](values, values.argmax(dim=1)) < 0).all()


def test_the_ratio_does_not_know_the_scale_of_logits():
    values = logits()
    torch.testing.assert_close(LOSSES["dlr"](values, LABELS), LOSSES["dlr"](1000 * values, LABELS))


def test_with_two_classes_the_ratio_is_the_margin():
    values, labels = logits(2), torch.tensor([0, 1, 1, 0])
    torch.testing.assert_close(LOSSES["dlr"](values, labels), LOSSES["margin"](values, labels))


@pytest.mark.parametrize("loss", LOSSES)
def test_finite_where_all_logits_are_the_same_or_huge(loss):
    for values in (torch.zeros(4, 7), torch.eye(4, 7) * 1e30):
        values.requires_grad_()
        found = LOSSES[loss](values, LABELS)
        (gradient,) = torch.autograd.grad(found.sum(), values)
        assert found.isfinite().all() and gradient.isfinite().all()
