"""The frozen copy answers as the model does, and the model stays as it was."""

import copy

import pytest
import torch
from tests.attacks import tiny
from torch import nn

from archaeology.attacks.folding import fast_copy
from archaeology.specimens.specimen import Specimen


def norms_of(model):
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def assert_same_answers(left, right, images):
    images = images.clone().requires_grad_()
    found = []
    for specimen in (left, right):
        logits = specimen.predict(images)
        found.append((logits, torch.autograd.grad(logits.square().sum(), images)[0]))
    for mine, wanted in zip(*found, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-9, atol=1e-9)


def test_batch_norms_go_into_the_convolutions_and_answers_stay():
    specimen = tiny.cnn(torch.float64)
    images = tiny.images(specimen, 5)
    copied = fast_copy(specimen, images[:2])
    assert norms_of(copied.model) == 0 and norms_of(specimen.model) == 2
    assert_same_answers(copied, specimen, images)


def test_the_copy_is_frozen_and_the_model_is_not():
    specimen = tiny.cnn()
    before = copy.deepcopy(specimen.model.state_dict())
    copied = fast_copy(specimen, tiny.images(specimen, 2))
    assert not any(parameter.requires_grad for parameter in copied.model.parameters())
    assert all(parameter.requires_grad for parameter in specimen.model.parameters())
    for name, value in specimen.model.state_dict().items():
        assert torch.equal(value, before[name])
    assert not specimen.model._forward_hooks and not any(
        module._forward_hooks or module._forward_pre_hooks for module in specimen.model.modules()
    )


class Branching(nn.Module):
    """What the convolution says goes to the batch norm and, past it, to the end."""

    def __init__(self):
        super().__init__()
        self.look, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)
        nn.init.normal_(self.norm.running_mean)

    def forward(self, pixels):
        seen = self.look(pixels)
        return torch.cat([self.norm(seen), seen], dim=1).mean(dim=(2, 3))


class Twice(nn.Module):
    """One convolution, used with a batch norm and again without."""

    def __init__(self):
        super().__init__()
        self.look, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        nn.init.normal_(self.norm.running_mean)

    def forward(self, pixels):
        return self.look(self.norm(self.look(pixels))).mean(dim=(2, 3))


class Inplace(nn.Module):
    """Something is added to what the convolution says before the batch norm gets it."""

    def __init__(self):
        super().__init__()
        self.look, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)
        nn.init.normal_(self.norm.weight)

    def forward(self, pixels):
        return self.norm(self.look(pixels).mul_(2).add_(1)).mean(dim=(2, 3))


@pytest.mark.parametrize("make", [Branching, Twice, Inplace])
def test_where_folding_would_change_the_answer_it_is_left(make):
    torch.manual_seed(0)
    specimen = Specimen("odd", make().eval().double(), "convolutional", (), (5, 7))
    images = tiny.images(specimen, 4)
    copied = fast_copy(specimen, images)
    assert norms_of(copied.model) == 1
    assert_same_answers(copied, specimen, images)


class Throwing(nn.Module):
    """Looks at its own parts, and minds when one is gone."""

    def __init__(self):
        super().__init__()
        self.look, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)

    def forward(self, pixels):
        if self.norm.num_features != 5:
            raise RuntimeError("never reached")
        return self.norm(self.look(pixels)).mean(dim=(2, 3))


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.look, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)

    def forward(self, pixels):
        seen = self.norm(self.look(pixels)).mean(dim=(2, 3))
        return seen + torch.randn_like(seen)


@pytest.mark.parametrize("make", [Throwing, Noisy])
def test_models_that_cannot_be_folded_or_compared_are_copied_as_they_are(make):
    specimen = Specimen("odd", make().eval(), "convolutional", (), (5, 7))
    copied = fast_copy(specimen, tiny.images(specimen, 2))
    assert norms_of(copied.model) == 1 and copied.model is not specimen.model
    assert not any(parameter.requires_grad for parameter in copied.model.parameters())


def test_a_batch_norm_that_counts_the_batch_itself_is_left():
    specimen = tiny.cnn()
    specimen.model[1] = nn.BatchNorm2d(11, track_running_stats=False).eval()
    copied = fast_copy(specimen, tiny.images(specimen, 3))
    assert norms_of(copied.model) == 1


def test_transformers_are_copied_too():
    specimen = tiny.vit(torch.float64)
    assert_same_answers(
        fast_copy(specimen, tiny.images(specimen, 2)), specimen, tiny.images(specimen, 3, seed=1)
    )
