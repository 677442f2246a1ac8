"""The axis of a softmax is found again after any reordering, and what dies is forgotten."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from archaeology.capture.follow import Followed, is_weight

SHAPE = (2, 3, 5, 7)  # batch, head, query, key


class Following(TorchFunctionMode):
    """Carries along whatever is called."""

    def __init__(self):
        super().__init__()
        self.followed = Followed()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.__self__.__name__ if func.__name__ == "__get__" else func.__name__
        self.followed.carry(name, args, kwargs or {}, result)
        return result


def _follow(step, axis=3):
    """What is known after `step` of the softmax of random scores over `axis`, and the result of the step."""
    pattern = torch.randn(SHAPE).softmax(axis)
    with Following() as following:
        following.followed.start(pattern, (pattern, axis), {})
        result = step(pattern)
    return result, following.followed.trace(result)


KEEPS = {
    "transpose": (lambda p: p.transpose(-1, -2), 2),
    "mT": (lambda p: p.mT, 2),
    "swapaxes": (lambda p: p.swapaxes(1, 3), 1),
    "permute": (lambda p: p.permute(0, 3, 1, 2), 1),
    "permute tuple": (lambda p: torch.permute(p, (0, 2, 3, 1)), 2),
    "movedim": (lambda p: p.movedim(1, -1), 2),
    "movedim pair": (lambda p: p.movedim((0, 3), (1, 0)), 0),
    "fold heads": (lambda p: p.reshape(6, 5, 7), 2),
    "fold queries": (lambda p: p.flatten(1, 2), 2),
    "unfold batch": (lambda p: p.view(1, 2, 3, 5, 7), 4),
    "unsqueeze": (lambda p: p.unsqueeze(-1), 3),
    "expand": (lambda p: p[:1].expand(4, 3, 5, 7), 3),
    "dropout": (lambda p: F.dropout(p, 0.5, training=False), 3),
    "double": (lambda p: p.double(), 3),
    "to": (lambda p: p.to(torch.float64), 3),
    "contiguous": (lambda p: p.mT.contiguous(), 2),
    "unbind heads": (lambda p: p.unbind(1)[0], 2),
    "one head": (lambda p: p[:, 1], 2),
    "some queries": (lambda p: p[:, :, 1:], 3),
}


@pytest.mark.parametrize("name", KEEPS)
def test_axis_is_found_and_rows_still_sum_to_one(name):
    step, axis = KEEPS[name]
    result, trace = _follow(step)
    assert trace is not None
    assert trace.axis == axis
    assert trace.normalised
    torch.testing.assert_close(result.double().sum(axis), torch.ones_like(result.double().sum(axis)))


CHANGES = {
    "scaled": (lambda p: p * 2, 3),
    "masked": (lambda p: p.masked_fill(torch.ones(5, 7).tril() == 0, 0), 3),
    "scaled in place": (lambda p: p.mul_(2), 3),
    "some keys": (lambda p: p[..., 1:], 3),
    "heads mixed by linear": (lambda p: F.linear(p.permute(0, 2, 3, 1), torch.randn(4, 3)), 2),
    "heads mixed by convolution": (lambda p: F.conv2d(p, torch.randn(4, 3, 1, 1)), 3),
    "keys folded": (lambda p: p.flatten(2), None),
    "renormalised": (lambda p: p / p.sum(-1, keepdim=True), 3),
    "joined": (lambda p: torch.cat([p, p], dim=-1), 3),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_patterns_are_followed_but_need_not_sum_to_one(name):
    step, axis = CHANGES[name]
    _, trace = _follow(step)
    assert trace is not None
    assert trace.axis == axis
    assert not trace.normalised


def test_assignment_to_a_part_is_noticed():
    def erase(pattern):
        pattern[..., 0] = 0
        return pattern

    _, trace = _follow(erase)
    assert trace is not None
    assert not trace.normalised


DROPS = {
    "mean over heads": lambda p: p.mean(1),
    "row sums": lambda p: p.sum(-1),
    "integers": lambda p: p.argsort(-1),
    "keys summed by linear": lambda p: F.linear(p, torch.randn(4, 7)),
    "keys summed by convolution": lambda p: F.conv2d(p.permute(0, 3, 1, 2), torch.randn(4, 7, 1, 1)),
    "gate of a feature map": lambda p: p.unsqueeze(-1) * torch.randn(2, 3, 5, 7, 4),
}


@pytest.mark.parametrize("name", DROPS)
def test_what_is_no_pattern_any_more_is_dropped(name):
    _, trace = _follow(DROPS[name])
    assert trace is None


def test_nothing_is_kept_alive():
    followed = Followed()
    for _ in range(100):  # each result may take the address of the one before
        result = torch.randn(SHAPE).softmax(-1)
        followed.start(result, (result,), {"dim": -1})
        assert len(followed) == 1
        del result
        assert followed.trace(torch.randn(SHAPE)) is None
    assert len(followed) == 0


def test_weights_and_their_views_are_told_from_values():
    weight = nn.Parameter(torch.randn(3, 3))
    assert is_weight(weight)
    assert is_weight(weight.t())
    assert not is_weight(weight * 2)
    assert not is_weight(torch.randn(3, 3))
