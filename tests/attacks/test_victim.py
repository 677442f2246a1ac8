"""What an attack may ask, and that every question is counted."""

import pytest
import torch
from tests.attacks import tiny
from torch import nn

from archaeology.attacks.losses import LOSSES
from archaeology.attacks.victim import Victim
from archaeology.core.errors import UnknownNameError
from archaeology.specimens.specimen import Specimen


def test_gradients_are_those_of_the_model_whatever_the_batch():
    specimen = tiny.cnn(torch.float64)
    images, labels = tiny.told(specimen, 5)
    for at_once in (2, 256):
        victim = Victim(specimen, images, at_once=at_once)
        for loss, of in LOSSES.items():
            answer = victim.gradient(images, labels, torch.arange(5), loss)
            asked = images.clone().requires_grad_()
            losses = of(specimen.predict(asked), labels)
            (gradient,) = torch.autograd.grad(losses.sum(), asked)
            torch.testing.assert_close(answer.gradient, gradient, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(answer.losses, losses.detach(), rtol=1e-9, atol=1e-9)
            assert not answer.wrong(labels).any() and answer.wrong((labels + 1) % 7).all()


def test_every_question_is_counted_for_the_image_it_is_about():
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 5)
    victim = Victim(specimen, images)
    victim.logits(images[:3], torch.tensor([4, 0, 1]))
    victim.logits(images[:2], torch.tensor([1, 1]))  # two versions of one image
    victim.gradient(images[:2], labels[:2], torch.tensor([2, 4]))
    assert victim.evaluations.tolist() == [1, 3, 0, 0, 1]
    assert victim.gradients.tolist() == [0, 0, 1, 0, 1]


def test_answers_can_be_asked_for_where_gradients_are_off():
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 2)
    victim = Victim(specimen, images)
    with torch.no_grad():
        assert victim.gradient(images, labels, torch.arange(2)).gradient.abs().sum() > 0
    assert not victim.logits(images, torch.arange(2)).requires_grad


def test_whoever_watches_sees_every_question():
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 5)
    seen = []
    victim = Victim(specimen, images, at_once=2, watch=seen.append)
    rows = torch.tensor([4, 0, 1])
    said = victim.logits(images[:3], rows)
    answer = victim.gradient(images[2:], labels[2:], rows)
    assert len(seen) == 2 and all(one.rows is rows for one in seen)
    torch.testing.assert_close(seen[0].logits, said, rtol=0, atol=0)
    torch.testing.assert_close(seen[1].logits, answer.logits, rtol=0, atol=0)
    torch.testing.assert_close(seen[1].images, images[2:], rtol=0, atol=0)
    assert not seen[1].images.requires_grad


class Root(nn.Module):
    """A square root of nothing has no finite gradient."""

    def forward(self, pixels):
        return torch.stack([(pixels - pixels.detach()).abs().sqrt().sum((1, 2, 3)), pixels.sum((1, 2, 3))], 1)


def test_a_gradient_that_is_not_finite_counts_as_none():
    specimen = Specimen("root", Root(), "other", (), (5, 7))
    images = tiny.images(specimen, 2)
    gradient = Victim(specimen, images).gradient(images, torch.tensor([1, 1]), torch.arange(2)).gradient
    assert gradient.isfinite().all()


class Constant(nn.Module):
    """Says what it was made with, whatever it is shown."""

    def __init__(self, follows):
        super().__init__()
        self.bias, self.follows = nn.Parameter(torch.arange(3.0)), follows

    def forward(self, pixels):
        said = self.bias.expand(len(pixels), 3)
        return said.detach() if not self.follows else said


@pytest.mark.parametrize("follows", [False, True])
def test_a_model_without_gradients_is_refused(follows):
    specimen = Specimen("constant", Constant(follows).eval(), "other", (), (5, 7))
    images = tiny.images(specimen, 2)
    with pytest.raises(ValueError, match=r"constant must be differentiable in its images.*such as square"):
        Victim(specimen, images).gradient(images, torch.tensor([2, 2]), torch.arange(2))


def test_an_unknown_loss_gets_the_near_miss():
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 2)
    with pytest.raises(UnknownNameError, match="No loss is called 'drl'; did you mean 'dlr'"):
        Victim(specimen, images).gradient(images, labels, torch.arange(2), "drl")
