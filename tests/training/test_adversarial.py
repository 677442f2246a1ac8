"""The inner maximum of adversarial training: against loops, inside its ball, and leaving all but the images alone."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.specimens import MEAN, STD, KilledError, tiny_model, tiny_training
from torch import nn

from archaeology.models import ConvNet
from archaeology.training.adversarial import Adversary, adversary_of, divergence, same_buffers
from archaeology.training.config import TrainConfig
from archaeology.training.loop import train
from archaeology.training.optimizers import make_optimizer
from archaeology.training.runtime import Runtime, wrap
from archaeology.training.step import Stepper

ALONE = Runtime(torch.device("cpu"))
UNEVEN_MEAN, UNEVEN_STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def normalised(pixels, mean=MEAN, std=STD):
    mean, std = (pixels.new_tensor(numbers).view(1, 3, 1, 1) for numbers in (mean, std))
    return (pixels - mean) / std


def pixels_of(images, mean=MEAN, std=STD):
    mean, std = (images.new_tensor(numbers).view(1, 3, 1, 1) for numbers in (mean, std))
    return images * std + mean


def batch(count=8, seed=0, side=12, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(count, 3, side, side, generator=generator, dtype=dtype)
    return normalised(pixels), torch.randint(0, 3, (count,), generator=generator)


def opinionated(model):
    """With a head that does not say the same of every image."""
    model.head.weight.data.normal_(generator=torch.Generator().manual_seed(1))
    return model


def stepper(model, adversary=None, dtype=torch.float32, **options):
    config = TrainConfig(**{"optimizer": "adamw", "learning_rate": 1e-3, "device": "cpu", **options})
    optimizer = make_optimizer(model, config)
    return Stepper(model, wrap(model, ALONE, "ddp"), optimizer, F.cross_entropy, config, dtype, adversary)


def climbed(weights, image, label, start, epsilon, step_size, steps):
    """Number by number: sign steps on the cross-entropy of a linear model, for one image of pixels in [0, 1]."""
    place = list(start)
    for _ in range(steps):
        normal = [(value - UNEVEN_MEAN[c]) / UNEVEN_STD[c] for c, value in place_by_channel(place)]
        logits = [sum(w * value for w, value in zip(row, normal, strict=True)) for row in weights]
        total = sum(math.exp(logit) for logit in logits)
        for index in range(len(place)):
            slope = sum(
                (math.exp(logit) / total - (number == label)) * weights[number][index]
                for number, logit in enumerate(logits)
            )
            moved = place[index] + step_size * ((slope > 0) - (slope < 0))
            moved = min(max(moved, image[index] - epsilon), image[index] + epsilon)
            place[index] = min(max(moved, 0.0), 1.0)
    return place


def place_by_channel(place):
    size = len(place) // 3
    return [(index // size, value) for index, value in enumerate(place)]


@pytest.mark.parametrize(("steps", "step_size"), [(1, 0.1), (4, 0.03)], ids=["fast", "pgd"])
def test_the_climb_is_that_of_the_papers_number_by_number(steps, step_size):
    generator = torch.Generator().manual_seed(3)
    pixels = torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    pixels[0, 0, 0] = torch.tensor([0.0, 1.0, 0.01, 0.99, 0.5])  # where [0, 1] ends before the ball does
    weights = torch.randn(7, 60, generator=generator, dtype=torch.float64)
    labels, epsilon = torch.tensor([2, 6]), 0.08
    adversary = Adversary(epsilon, steps, step_size, UNEVEN_MEAN, UNEVEN_STD)

    def loss_of(images):
        return F.cross_entropy(images.flatten(1) @ weights.T, labels)

    images = normalised(pixels, UNEVEN_MEAN, UNEVEN_STD)
    found = adversary(images, loss_of, torch.Generator().manual_seed(5))
    draws = torch.rand(pixels.shape, generator=torch.Generator().manual_seed(5)).double()
    starts = (pixels + epsilon * (2 * draws - 1)).clamp(0, 1)
    for number in range(2):
        expected = climbed(
            weights.tolist(),
            pixels[number].flatten().tolist(),
            int(labels[number]),
            starts[number].flatten().tolist(),
            epsilon,
            step_size,
            steps,
        )
        got = pixels_of(found, UNEVEN_MEAN, UNEVEN_STD)[number].flatten()
        torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def shares(weights, place):
    """Softmax of a linear model, number by number, of one image of pixels in [0, 1]."""
    normal = [(value - UNEVEN_MEAN[c]) / UNEVEN_STD[c] for c, value in place_by_channel(place)]
    powers = [math.exp(sum(w * value for w, value in zip(row, normal, strict=True))) for row in weights]
    return [power / sum(powers) for power in powers]


def moved_most(weights, image, start, epsilon, step_size, steps):
    """Number by number: sign steps on KL(p of the image, p of the place), as in the paper's algorithm 1."""
    place, own = list(start), shares(weights, image)
    for _ in range(steps):
        now = shares(weights, place)
        for index in range(len(place)):
            slope = sum((q - p) * row[index] for p, q, row in zip(own, now, weights, strict=True))
            moved = place[index] + step_size * ((slope > 0) - (slope < 0))
            moved = min(max(moved, image[index] - epsilon), image[index] + epsilon)
            place[index] = min(max(moved, 0.0), 1.0)
    return place


def test_trades_moves_the_answer_as_far_as_the_paper_does_number_by_number():
    generator = torch.Generator().manual_seed(3)
    pixels = torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    pixels[0, 0, 0] = torch.tensor([0.0, 1.0, 0.01, 0.99, 0.5])
    weights = torch.randn(7, 60, generator=generator, dtype=torch.float64) / 4
    adversary = Adversary(0.08, 3, 0.03, UNEVEN_MEAN, UNEVEN_STD, trades=6.0)
    images = normalised(pixels, UNEVEN_MEAN, UNEVEN_STD)
    own = images.flatten(1) @ weights.T
    found = adversary(
        images,
        lambda changed: divergence(changed.flatten(1) @ weights.T, own),
        torch.Generator().manual_seed(5),
    )
    draws = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(5)).double()
    starts = (pixels + 1e-3 * draws).clamp(0, 1)
    for number in range(2):
        given_ = [one[number].flatten().tolist() for one in (pixels, starts)]
        expected = moved_most(weights.tolist(), *given_, 0.08, 0.03, 3)
        got = pixels_of(found, UNEVEN_MEAN, UNEVEN_STD)[number].flatten()
        torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_divergence_is_that_of_kullback_and_leibler():
    generator = torch.Generator().manual_seed(0)
    said, own = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    total = 0.0
    for row in range(3):
        p, q = own[row].softmax(0).tolist(), said[row].softmax(0).tolist()
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 3
    assert float(divergence(said, own)) == pytest.approx(total)
    assert float(divergence(own, own)) == pytest.approx(0, abs=1e-15)
    assert float(divergence((said, own), (own, own))) == pytest.approx(total / 2)


@pytest.mark.parametrize("make", [tiny_model, lambda: ConvNet(12, 3, widths=(5, 7))], ids=["vit", "convnet"])
def test_trades_learns_from_the_images_and_from_how_far_the_answers_move(make):
    images, labels = batch()
    model, plain = opinionated(make()), opinionated(make())
    plain.load_state_dict(model.state_dict())
    for one in (model, plain):
        one.patch_keep = 0.6  # some of a ViT's patches are dropped at random
    torch.manual_seed(11)
    made, losses = stepper(model, Adversary(0.05, 2, 0.03, MEAN, STD, trades=4.0)), []
    calls = trained_on(model, lambda: losses.append(made(images, labels)[0]))
    assert len(calls) == 1 + 2 + 2  # what it says, two steps of the adversary, and what is learned from
    assert all(
        torch.equal(calls[-1][1], drawn_from) for _, drawn_from in calls
    )  # the same patches in every pass
    assert torch.equal(calls[-2][0], images) and not torch.equal(calls[-1][0], images)
    plain.train(model.training)
    with torch.random.fork_rng():
        torch.set_rng_state(calls[-1][1])
        own = plain(images)
        torch.set_rng_state(calls[-1][1])
        changed = plain(calls[-1][0])
    p, q = own.softmax(1), changed.softmax(1)
    loss = F.cross_entropy(own, labels) + 4 * (p * (p.log() - q.log())).sum(1).mean()
    torch.testing.assert_close(losses[0], loss.detach())
    loss.backward()
    for (name, one), other in zip(model.named_parameters(), plain.named_parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other[1].grad, rtol=1e-4, atol=1e-6, msg=name)


@given(
    st.floats(1e-3, 1.0),
    st.integers(1, 3),
    st.floats(1e-3, 1.0),
    st.sampled_from([1.0, 1e30, float("inf"), float("nan")]),
)
@settings(deadline=None, derandomize=True, max_examples=30)
def test_no_pixel_leaves_the_ball_or_the_range(epsilon, steps, step_size, factor):
    generator = torch.Generator().manual_seed(steps)
    pixels = torch.rand(3, 3, 2, 5, generator=generator)
    pixels[0] = pixels[0].round()
    slopes = factor * torch.randn(pixels.shape, generator=generator)
    adversary = Adversary(epsilon, steps, step_size, UNEVEN_MEAN, UNEVEN_STD)
    images = normalised(pixels, UNEVEN_MEAN, UNEVEN_STD)
    found = pixels_of(adversary(images, lambda changed: (changed * slopes).sum()), UNEVEN_MEAN, UNEVEN_STD)
    assert found.isfinite().all() and not found.requires_grad
    assert (found - pixels).abs().max() <= epsilon + 1e-6
    assert found.min() >= -1e-6 and found.max() <= 1 + 1e-6


def test_several_steps_raise_the_loss_more_than_one_and_one_more_than_none():
    model, (images, labels) = opinionated(tiny_model()), batch(16)

    def loss_of(changed):
        return F.cross_entropy(model(changed), labels)

    losses = [float(loss_of(images).detach())]
    for adversarial, steps in (("fast", {}), ("pgd", {"attack_steps": 10})):
        config = TrainConfig(adversarial=adversarial, epsilon=0.05, **steps)
        adversary = adversary_of(config, MEAN, STD)
        assert adversary is not None
        losses.append(float(loss_of(adversary(images, loss_of, torch.Generator().manual_seed(0))).detach()))
    assert losses[0] + 0.1 < losses[1] < losses[2]


@pytest.mark.parametrize(
    ("options", "steps", "step_size"),
    [
        ({"adversarial": "fast"}, 1, 0.1),
        ({"adversarial": "pgd"}, 7, 0.02),
        ({"adversarial": "pgd", "attack_steps": 3, "attack_step_size": 0.5}, 3, 0.5),
        ({"adversarial": "trades"}, 10, 0.02),
        ({"adversarial": "trades", "attack_steps": 4, "trades_weight": 2.5}, 4, 0.02),
    ],
)
def test_steps_follow_from_epsilon_unless_they_are_given(options, steps, step_size):
    adversary = adversary_of(TrainConfig(epsilon=0.08, **options), MEAN, STD)
    assert adversary is not None
    assert (adversary.epsilon, adversary.steps) == (0.08, steps)
    assert adversary.step_size == pytest.approx(step_size)
    assert (adversary.mean, adversary.std) == (MEAN, STD)
    weight = options.get("trades_weight", 6.0) if options["adversarial"] == "trades" else None
    assert adversary.trades == weight


def test_who_asks_for_no_adversary_gets_none():
    assert adversary_of(TrainConfig(), MEAN, STD) is None


def trained_on(model, run):
    """What a model was last called with before a gradient reached its parameters, and the random state then."""
    calls = []
    handle = model.register_forward_pre_hook(
        lambda _, given: calls.append((given[0].detach().clone(), torch.get_rng_state()))
    )
    run()
    handle.remove()
    return calls


@pytest.mark.parametrize("make", [tiny_model, lambda: ConvNet(12, 3, widths=(5, 7))], ids=["vit", "convnet"])
@pytest.mark.parametrize("steps", [1, 3])
def test_parameters_learn_as_from_the_changed_images_and_statistics_move_once(make, steps):
    images, labels = batch()
    attacked, plain = opinionated(make()), opinionated(make())
    plain.load_state_dict(attacked.state_dict())
    for model in (attacked, plain):
        model.patch_keep = 0.6  # some of a ViT's patches are dropped at random
    adversary = Adversary(0.05, steps, 0.03, MEAN, STD)
    torch.manual_seed(11)
    calls = trained_on(attacked, lambda: stepper(attacked, adversary)(images, labels))
    assert len(calls) == steps + 1
    learnt_from, state = calls[-1]
    assert not torch.equal(learnt_from, images)
    assert all(torch.equal(state, drawn_from) for _, drawn_from in calls)  # the same patches in every pass
    torch.set_rng_state(state)
    stepper(plain)(learnt_from, labels)
    for (name, one), other in zip(attacked.named_parameters(), plain.parameters(), strict=True):
        if one.grad is not None and other.grad is not None:
            assert torch.equal(one.grad, other.grad), name
        assert torch.equal(one, other), name
    for (name, one), other in zip(attacked.named_buffers(), plain.buffers(), strict=True):
        assert torch.equal(one, other), name


def test_parts_of_a_batch_are_changed_each_on_its_own():
    images, labels = batch()
    model = opinionated(tiny_model())
    adversary = Adversary(0.05, 2, 0.03, MEAN, STD)
    calls = trained_on(model, lambda: stepper(model, adversary, accumulate=2)(images, labels))
    assert [len(changed) for changed, _ in calls] == [4] * 6
    for number, (changed, _) in enumerate(calls):
        clean = images[:4] if number < 3 else images[4:]
        assert (pixels_of(changed) - pixels_of(clean)).abs().max() <= 0.05 + 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_finds_nearly_the_same_images(dtype):
    images, labels = batch()
    found = []
    for precision in (torch.float32, dtype):
        model = opinionated(tiny_model())
        torch.manual_seed(2)
        made = stepper(model, Adversary(0.05, 1, 0.06, MEAN, STD), precision)
        calls = trained_on(model, lambda made=made: made(images, labels))
        assert calls[-1][0].dtype == torch.float32
        found.append(calls[-1][0])
    assert ((found[0] - found[1]).abs() < 1e-6).float().mean() > 0.9


def test_buffers_come_back_after_an_error_too():
    model = ConvNet(12, 3, widths=(5, 7))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with pytest.raises(RuntimeError, match="broken") as _, same_buffers(model):
        model(batch()[0])
        assert not torch.equal(model.groups[0].norm1.running_mean, before["groups.0.norm1.running_mean"])
        raise RuntimeError("broken")
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


HARD = {"adversarial": "pgd", "attack_steps": 2, "epsilon": 0.05}


@pytest.mark.parametrize(
    "options",
    [
        {"adversarial": "fast"},
        {**HARD, "ema": 0.9, "accumulate": 2, "patch_keep": [[0.0, 0.6]]},
        {**HARD, "dtype": "float16"},
        {**HARD, "adversarial": "trades", "accumulate": 2},
    ],
    ids=["fast", "tricky", "scaled", "trades"],
)
def test_stopped_and_never_stopped_end_alike(tmp_path, options):
    whole, _ = tiny_training(None, ALONE, **options)
    with pytest.raises(KilledError):
        tiny_training(tmp_path, ALONE, stop_at=0.4, save_every=1e-9, **options)
    resumed, _ = tiny_training(tmp_path, ALONE, save_every=1e-9, **options)
    states = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    plain, _ = tiny_training(None, ALONE, **{**options, "adversarial": "none"})
    assert not torch.equal(plain.norm.bias, whole.norm.bias)  # so there was an adversary


def test_another_epsilon_is_another_training(tmp_path):
    with pytest.raises(KilledError):
        tiny_training(tmp_path, ALONE, stop_at=0.4, adversarial="fast")
    with pytest.raises(ValueError, match=r"it began with epsilon=0\.03\d+ instead of 0\.05; .*--restart"):
        tiny_training(tmp_path, ALONE, adversarial="fast", epsilon=0.05)


def two_sided(count, seed):
    """Two classes, after `tsipras2019robustness`: one place tells it loudly in 9 of 10 images; the rest whispers."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=generator)
    sides = (2.0 * labels - 1).view(-1, 1, 1, 1)
    pixels = 0.5 + 0.04 * sides + 0.08 * torch.randn(count, 3, 6, 6, generator=generator)
    honest = torch.where(torch.rand(count, 1, 1, 1, generator=generator) < 0.9, sides, -sides)
    pixels[:, :, :1, :1] = 0.5 + 0.3 * honest
    return normalised(pixels.clamp(0, 1)), labels


def withstood(model, epsilon):
    """Accuracy on unseen images, and what is left of it after twenty steps of an adversary."""
    images, labels = two_sided(500, seed=99)
    adversary = Adversary(epsilon, 20, epsilon / 4, MEAN, STD)
    found = adversary(
        images, lambda changed: F.cross_entropy(model(changed), labels), torch.Generator().manual_seed(0)
    )
    return [float((model(given).argmax(1) == labels).float().mean()) for given in (images, found)]


@pytest.mark.parametrize("adversarial", ["fast", "pgd", "trades"])
def test_what_learns_from_an_adversary_withstands_one(adversarial):
    reached = {}
    for kind in ("none", adversarial):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(108, 16), nn.ReLU(), nn.Linear(16, 2))
        options = {"adversarial": kind, "epsilon": 0.1, "optimizer": "adam"}
        options |= {} if kind == "fast" else {"attack_steps": 3}
        config = TrainConfig(
            epochs=1, batch_size=100, learning_rate=0.01, device="cpu", dtype="float32", **options
        )
        batches = [two_sided(100, seed) for seed in range(60)]
        train(model, lambda _, made=batches: made, 60, config, adversary=adversary_of(config, MEAN, STD))
        reached[kind] = withstood(model, 0.1)
    assert reached["none"][0] > 0.97 and reached["none"][1] < 0.2
    assert reached[adversarial][0] > 0.85 and reached[adversarial][1] > 0.8


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"epsilon": 8},
            r"it must lie in \(0, 1\], as pixels lie in \[0, 1\], but got 8; did you mean 8/255\?",
        ),
        ({"attack_step_size": 2.0}, r"did you mean 2/255\?"),
        ({"epsilon": -0.1}, r"it must lie in \(0, 1\].*got -0\.1; 8/255 is customary"),
        ({"epsilon": 0}, r"it must lie in \(0, 1\].*got 0; 8/255 is customary"),
        ({"epsilon": float("nan")}, "got nan; 8/255 is customary"),
        ({"epsilon": "eight"}, "a size must look like 0.03 or 8/255, but got 'eight'"),
        ({"epsilon": "8/0"}, "a size must look like 0.03 or 8/255, but got '8/0'"),
        ({"attack_steps": 0}, "greater than or equal to 1"),
        ({"adversarial": "slow"}, "'none', 'fast', 'pgd' or 'trades'"),
        (
            {"adversarial": "fast", "attack_steps": 3},
            r"the fast adversary takes one step, but got .*attack_steps=3; leave it out, or choose pgd",
        ),
        (
            {"adversarial": "pgd", "trades_weight": 2.0},
            r"trades_weight is of the adversary trades, but got .*'pgd'; choose trades or leave it out",
        ),
    ],
)
def test_mistakes_are_named(fields, told):
    with pytest.raises(ValueError, match=told):
        TrainConfig.model_validate(fields)


@pytest.mark.parametrize(
    ("given", "expected"), [("8/255", 8 / 255), ("0.03", 0.03), (".5", 0.5), (0.25, 0.25)]
)
def test_epsilon_is_read_as_people_write_it(given, expected):
    assert TrainConfig.model_validate({"epsilon": given}).epsilon == pytest.approx(expected)
