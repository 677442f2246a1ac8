"""What is asked of the caller of an attack, and what is made of candidates, whichever attack draws them."""

from dataclasses import replace

import pytest
import torch
from tests.attacks import tiny
from torch import nn

from archaeology.attacks import attack_images
from archaeology.attacks.method import attack, attacks
from archaeology.core.errors import UnknownNameError
from archaeology.specimens.specimen import Specimen


@pytest.fixture
def drawing():
    """Registers an attack that returns what it is told to."""
    names = []

    def register(draw, **about):
        names.append(f"drawn{len(names)}")
        attack(names[-1], **({"title": "Drawn", "norms": ("linf", "l2")} | about))(draw)
        return names[-1]

    yield register
    for name in names:
        del attacks._things[name]


class Brightness(nn.Module):
    """Class 1 where the mean is above one half, class 2 far above."""

    def forward(self, pixels):
        mean = pixels.mean(dim=(1, 2, 3)) * 0.5 + 0.5  # undo the normalisation of the specimen
        return torch.stack([0.5 - mean, mean - 0.5, 3 * (mean - 0.8)], dim=1)


def brightness():
    return Specimen("brightness", Brightness(), "other", (), (2, 3))


def grey(*values):
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 2, 3).contiguous()


def test_candidates_are_cut_to_epsilon_and_judged_by_the_model(drawing):
    name = drawing(lambda victim, aim: aim.images + 7)
    images, labels = grey(0.2, 0.45, 0.45, 0.7), torch.tensor([0, 0, 2, 1])
    result = attack_images(name, brightness(), images, labels, epsilon=0.1)
    torch.testing.assert_close(result.images, grey(0.3, 0.55, 0.45, 0.8))
    assert result.success.tolist() == [False, True, True, False]
    assert result.clean_correct.tolist() == [True, True, False, True]
    assert float(result.clean_accuracy.value) == 0.75 and float(result.robust_accuracy.value) == 0.5
    assert result.distances["linf"][2] == 0  # wrong before: not touched
    torch.testing.assert_close(result.distances["linf"][:2], torch.full((2,), 0.1).double())
    assert result.epsilon.tolist() == pytest.approx([0.1] * 4) and len(result) == 4


def test_each_image_may_have_its_own_epsilon(drawing):
    name = drawing(lambda victim, aim: aim.images + 7)
    result = attack_images(
        name,
        brightness(),
        grey(0.45, 0.45),
        torch.zeros(2, dtype=torch.long),
        epsilon=torch.tensor([0.01, 0.1]),
    )
    assert result.success.tolist() == [False, True]


def test_what_does_not_survive_a_file_is_told(drawing):
    name = drawing(lambda victim, aim: aim.images + 7)
    images = grey(127 / 255, 127 / 255, 0.1)
    labels = torch.zeros(3, dtype=torch.long)
    epsilon = torch.tensor([0.6, 0.9, 0.6]) / 255  # to 127.6 or 127.9, which is 128 as a file: above one half
    result = attack_images(name, brightness(), images, labels, epsilon=epsilon)
    assert result.success.tolist() == [True, True, False]
    assert result.success_8bit.tolist() == [False, False, False]  # 128 lies beyond epsilon, 127 is right
    wider = attack_images(name, brightness(), images, labels, epsilon=1 / 255)
    assert wider.success_8bit.tolist() == [True, True, False]
    # From 0.95 on, which is level 242.25, it is class 2: 242.3 is, but as a file it is 242.
    less = attack_images(name, brightness(), grey(242 / 255), labels[:1] + 1, epsilon=0.3 / 255)
    assert less.success.tolist() == [True] and less.success_8bit.tolist() == [False]


def test_candidates_that_are_no_numbers_do_not_pass(drawing):
    name = drawing(lambda victim, aim: aim.images * torch.nan)
    result = attack_images(name, brightness(), grey(0.2), torch.tensor([0]), epsilon=0.1)
    assert result.images.isfinite().all() and not result.success.any()


def test_what_the_attack_says_of_itself_is_not_asked(drawing):
    def boast(victim, aim):
        victim.logits(aim.images, aim.rows)
        return aim.images

    result = attack_images(drawing(boast), brightness(), grey(0.2, 0.3), torch.tensor([0, 0]), epsilon=0.1)
    assert not result.success.any() and result.evaluations.tolist() == [1, 1]
    assert result.gradients.tolist() == [0, 0]


def test_an_attack_without_bounds_takes_no_epsilon(drawing):
    name = drawing(lambda victim, aim: 1 - aim.images, bounded=False)
    result = attack_images(name, brightness(), grey(0.2), torch.tensor([0]))
    assert result.epsilon.tolist() == [torch.inf] and result.success.all()
    with pytest.raises(ValueError, match=r"takes no epsilon, but got epsilon=0.1; leave it out"):
        attack_images(name, brightness(), grey(0.2), torch.tensor([0]), epsilon=0.1)


def test_eight_bit_images_are_the_same_as_floats():
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 3)
    found = attack_images("fgsm", specimen, (images * 255).round().to(torch.uint8), labels, epsilon=0.1)
    torch.testing.assert_close(
        found.images, attack_images("fgsm", specimen, images, labels, epsilon=0.1).images
    )


def test_nothing_left_to_attack_is_no_error():
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 3)
    result = attack_images("pgd", specimen, images, (labels + 1) % 7, epsilon=0.1)
    assert result.success.all() and result.success_8bit.all() and torch.equal(result.images, images)
    assert result.gradients.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("epsilon", "words"),
    [
        (-0.1, "epsilon must be a finite number >= 0, but got -0.1"),
        (float("nan"), "finite number >= 0"),
        (float("inf"), "finite number >= 0"),
        (8.0, "at most 1, because images lie in .0, 1., but got 8; did you mean 8/255"),
        (None, "fgsm needs epsilon.*8/255"),
        (torch.tensor([0.1, 0.2]), "one for each of 3 images, but got shape"),
    ],
)
def test_a_bad_epsilon_is_asked_back(epsilon, words):
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 3)
    with pytest.raises(ValueError, match=words):
        attack_images("fgsm", specimen, images, labels, epsilon=epsilon)


def test_in_l2_epsilon_may_be_as_long_as_the_longest_change():
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 2)
    attack_images("fgsm", specimen, images, labels, epsilon=8.0, norm="l2")
    with pytest.raises(ValueError, match=r"in l2 must be at most 17.2.*did you mean 128/255"):
        attack_images("fgsm", specimen, images, labels, epsilon=128.0, norm="l2")


@pytest.mark.parametrize("change", [lambda images: images * 255, lambda images: images - 0.5])
def test_images_outside_the_unit_range_are_refused(change):
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 2)
    with pytest.raises(ValueError, match=r"images must lie in .0, 1."):
        attack_images("fgsm", specimen, change(images), labels, epsilon=0.1)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 7], "classes of the model, 0 to 6, but got 0 to 7"),
        ([-1, 2], "0 to 6, but got -1 to 2"),
        ([0, 1, 2], "one whole number for each of 2 images"),
        ([0.0, 1.0], "one whole number for each of 2 images, but got torch.float32"),
    ],
)
def test_bad_labels_are_refused(labels, words):
    specimen = tiny.cnn()
    with pytest.raises(ValueError, match=words):
        attack_images("fgsm", specimen, tiny.images(specimen, 2), torch.tensor(labels), epsilon=0.1)


class Broken(nn.Module):
    def forward(self, pixels):
        return torch.stack([pixels.mean((1, 2, 3)), pixels.mean((1, 2, 3)) * torch.nan], dim=1)


def test_answers_that_are_no_numbers_are_refused():
    specimen = Specimen("broken", Broken(), "other", (), (5, 7))
    with pytest.raises(ValueError, match="broken gives NaN or infinity for 2 of 2 images; mend the model"):
        attack_images("fgsm", specimen, tiny.images(specimen, 2), torch.tensor([0, 0]), epsilon=0.1)


def test_a_model_without_gradients_is_refused_by_attacks_that_follow_them():
    class Rigid(nn.Module):
        def forward(self, pixels):
            return torch.stack([pixels, -pixels], 1).detach().mean((2, 3, 4))

    specimen = Specimen("rigid", Rigid(), "other", (), (5, 7))
    images, labels = tiny.told(specimen, 2)
    with pytest.raises(ValueError, match="rigid must be differentiable"):
        attack_images("fgsm", specimen, images, labels, epsilon=0.1)


class Viewing(nn.Module):
    """Takes for granted that the channels of an image lie one after the other."""

    def __init__(self):
        super().__init__()
        self.classify = nn.Linear(105, 4)

    def forward(self, pixels):
        return self.classify(pixels.view(len(pixels), -1))


def test_a_model_that_needs_the_usual_layout_is_given_it():
    torch.manual_seed(0)
    specimen = Specimen("viewing", Viewing().eval(), "convolutional", (), (5, 7))
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        specimen.predict(tiny.images(specimen, 2).contiguous(memory_format=torch.channels_last))
    images, labels = tiny.told(specimen, 3)
    result = attack_images("fgsm", specimen, images, labels, epsilon=0.1)
    torch.testing.assert_close(result.logits, specimen.predict(result.images).detach())


def test_names_get_the_near_miss():
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 2)
    with pytest.raises(UnknownNameError, match="No attack is called 'fsgm'; did you mean 'fgsm'"):
        attack_images("fsgm", specimen, images, labels, epsilon=0.1)
    with pytest.raises(UnknownNameError, match="No norm is called 'l3'"):
        attack_images("fgsm", specimen, images, labels, epsilon=0.1, norm="l3")
    with pytest.raises(UnknownNameError, match="No parameter of pgd is called 'step'; did you mean 'steps'"):
        attack_images("pgd", specimen, images, labels, epsilon=0.1, step=3)


def test_a_norm_that_the_attack_does_not_know_is_refused(drawing):
    name = drawing(lambda victim, aim: aim.images, norms=("l2",))
    with pytest.raises(ValueError, match="works in the norm l2, but got norm='linf'"):
        attack_images(name, brightness(), grey(0.2), torch.tensor([0]), epsilon=0.1, norm="linf")


class Random(nn.Module):
    """Looks at a random part of the image."""

    def forward(self, pixels):
        seen = (pixels * torch.rand_like(pixels)).mean((1, 2, 3))
        return torch.stack([seen, -seen], dim=1)


def test_a_random_model_gets_the_same_draws_again_and_leaves_the_state_alone():
    specimen = Specimen("random", Random(), "other", (), (5, 7))
    images, labels = tiny.images(specimen, 3), torch.tensor([0, 1, 0])
    state = torch.get_rng_state()
    first = attack_images("pgd", specimen, images, labels, epsilon=0.1, steps=2)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    again = attack_images("pgd", specimen, images, labels, epsilon=0.1, steps=2)
    assert torch.equal(first.images, again.images) and torch.equal(first.logits, again.logits)


def test_an_exception_leaves_everything_as_it_was(drawing):
    def fail(victim, aim):
        victim.gradient(aim.images, aim.labels, aim.rows)
        torch.rand(1)
        raise RuntimeError("on purpose")

    specimen = tiny.cnn()
    specimen = replace(specimen, model=specimen.model.train(False))
    images, labels = tiny.told(specimen, 2)
    specimen.model[0].weight.requires_grad_(False)
    before, state = specimen.fingerprint(), torch.get_rng_state()
    with pytest.raises(RuntimeError, match="on purpose"):
        attack_images(drawing(fail), specimen, images, labels, epsilon=0.1)
    assert specimen.fingerprint() == before and torch.equal(torch.get_rng_state(), state)
    assert [parameter.requires_grad for parameter in specimen.model.parameters()][:3] == [False, True, True]
    assert all(parameter.grad is None for parameter in specimen.model.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_images_in_half_precision_are_attacked_in_single(dtype):
    specimen = tiny.cnn()
    images = tiny.images(specimen, 5).to(dtype)
    with torch.no_grad():
        labels = specimen.predict(images.float()).argmax(dim=1)
    found = attack_images("pgd", specimen, images, labels, epsilon=0.2)
    assert found.images.dtype == torch.float32 and found.success.all()


def test_a_success_that_rounding_carries_beyond_epsilon_is_none():
    specimen = tiny.cnn()
    images = tiny.images(specimen, 8)
    with torch.no_grad():
        labels = specimen.predict(images).argmax(dim=1)
    found = attack_images("pgd", specimen, images, labels, epsilon=1.4 / 255)
    far = ((found.images * 255).round() / 255 - images).abs().amax(dim=(1, 2, 3))
    assert (far[found.success_8bit & (found.clean_correct)] <= 1.4 / 255 + 1e-6).all()


def test_no_image_and_a_single_logit_are_refused():
    specimen = tiny.cnn()
    images = tiny.images(specimen, 2)
    with pytest.raises(ValueError, match="at least one image, but got none"):
        attack_images("pgd", specimen, images[:0], torch.zeros(0, dtype=torch.long), epsilon=0.1)
    single = replace(specimen, model=nn.Sequential(*specimen.model[:-1], nn.Linear(13, 1)))
    with pytest.raises(ValueError, match=r"two classes or more, but got shape \(2, 1\)"):
        attack_images("pgd", single, images, torch.zeros(2, dtype=torch.long), epsilon=0.1)


class Enough(Exception):  # noqa: N818, it is no error
    """Raised by whoever watches."""


@pytest.mark.parametrize("name", ["pgd", "fgsm", "apgd", "square", "deep_fool", "patch"])
def test_an_attack_can_be_watched_and_stopped_between_two_steps(name):
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 3)
    chosen = attacks.get(name)
    before = {key: value.clone() for key, value in specimen.model.state_dict().items()}
    seen = []

    def watch(asked):
        seen.append(asked)
        if len(seen) == 1:
            raise Enough

    with pytest.raises(Enough):
        attack_images(name, specimen, images, labels, epsilon=0.001 if chosen.bounded else None, watch=watch)
    assert len(seen) == 1  # nothing was asked after it had been stopped
    again = attack_images(name, specimen, images, labels, epsilon=0.001 if chosen.bounded else None)
    watched = attack_images(
        name, specimen, images, labels, epsilon=0.001 if chosen.bounded else None, watch=seen.append
    )
    torch.testing.assert_close(watched.images, again.images, rtol=0, atol=0)  # looking changes nothing
    if name != "deep_fool":  # which asks for several gradients in one question
        assert len(seen) - 1 == int((again.gradients + again.evaluations).max())
    for key, value in specimen.model.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
