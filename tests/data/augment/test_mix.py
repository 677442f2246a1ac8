import math

import pytest
import torch
from scipy.stats import beta as beta_distribution
from scipy.stats import kstest
from torch import Tensor
from torch.nn.functional import cross_entropy

from archaeology.data.augment import mix


def batch_of(batch: int, height: int = 9, width: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, 3, height, width, generator=generator)
    return images, torch.randint(0, 5, (batch,), generator=generator)


def flags(batch: int, height: int = 32, width: int = 32) -> tuple[Tensor, Tensor]:
    """Image i is 2**i everywhere and of class i, so a mixture tells what is in it."""
    values = torch.arange(batch, dtype=torch.float64)
    return values[:, None, None, None].expand(-1, 1, height, width).clone(), torch.arange(batch)


def draws(batch: int, height: int, width: int, mixup: float, cutmix: float, seed: int) -> dict[str, list]:
    """The same numbers in the same order."""
    generator = torch.Generator().manual_seed(seed)
    partner = torch.randperm(batch, generator=generator).tolist()
    coin = torch.randint(int(not mixup), int(cutmix > 0) + 1, (batch,), generator=generator).tolist()
    uniform = torch.rand(batch, generator=generator, dtype=torch.float64).tolist()
    down = torch.randint(0, height, (batch,), generator=generator).tolist() if cutmix else None
    right = torch.randint(0, width, (batch,), generator=generator).tolist() if cutmix else None
    return {"partner": partner, "coin": coin, "uniform": uniform, "down": down or [], "right": right or []}


@pytest.mark.parametrize(
    ("mixup", "cutmix", "smoothing"), [(0.8, 0.0, 0.0), (0.0, 1.0, 0.1), (0.3, 0.7, 0.2)]
)
def test_equals_the_papers_image_by_image(mixup: float, cutmix: float, smoothing: float) -> None:
    batch, height, width, num_classes = 23, 9, 7, 5
    images, labels = batch_of(batch, height, width)
    mixed, targets = mix(
        images,
        labels,
        torch.Generator().manual_seed(6),
        num_classes,
        mixup=mixup,
        cutmix=cutmix,
        smoothing=smoothing,
    )
    drawn = draws(batch, height, width, mixup, cutmix, seed=6)
    for i in range(batch):
        other, is_cut = drawn["partner"][i], drawn["coin"][i]
        alpha = cutmix if is_cut else mixup
        share = float(beta_distribution.ppf(drawn["uniform"][i], alpha, alpha))
        if is_cut:
            expected = images[i].clone()
            tall, wide = int(height * math.sqrt(1 - share)), int(width * math.sqrt(1 - share))
            top, bottom = max(drawn["down"][i] - tall // 2, 0), min(drawn["down"][i] + tall // 2, height)
            left, right = max(drawn["right"][i] - wide // 2, 0), min(drawn["right"][i] + wide // 2, width)
            expected[:, top:bottom, left:right] = images[other][:, top:bottom, left:right]
            share = 1 - (bottom - top) * (right - left) / (height * width)
            torch.testing.assert_close(mixed[i], expected, rtol=0, atol=0)
        else:
            expected = share * images[i].double() + (1 - share) * images[other].double()
            torch.testing.assert_close(mixed[i].double(), expected, rtol=1e-5, atol=1e-6)
        target = torch.zeros(num_classes, dtype=torch.float64)
        target[labels[i]] += share
        target[labels[other]] += 1 - share
        target = target * (1 - smoothing) + smoothing / num_classes
        torch.testing.assert_close(targets[i].double(), target, rtol=0, atol=1e-7)


def test_smoothing_is_that_of_the_cross_entropy() -> None:
    images, labels = batch_of(8)
    same, targets = mix(images, labels, torch.Generator(), 5, smoothing=0.1)
    torch.testing.assert_close(same, images, rtol=0, atol=0)
    logits = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        cross_entropy(logits, targets), cross_entropy(logits, labels, label_smoothing=0.1)
    )


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_follow_the_beta_distribution_one_for_each_image(alpha: float) -> None:
    images, labels = flags(3000, 1, 1)
    mixed, targets = mix(images, labels, torch.Generator().manual_seed(0), 3000, mixup=alpha)
    shares = targets.gather(1, labels[:, None])[:, 0]
    mine = shares[targets.count_nonzero(dim=1) == 2].double()
    assert len(mine) > 2900
    # Near 0 and 1 shares are rounded away in single precision, so those beyond a millionth are left out.
    inner = mine[(mine > 1e-6) & (mine < 1 - 1e-6)]
    low, high = beta_distribution.cdf([1e-6, 1 - 1e-6], alpha, alpha)
    uniform = (beta_distribution.cdf(inner.numpy(), alpha, alpha) - low) / (high - low)
    assert kstest(uniform, "uniform").pvalue > 0.01
    told = (targets.double() @ torch.arange(3000).double())[:, None, None, None]
    torch.testing.assert_close(mixed, told, rtol=1e-4, atol=1e-2)


def test_targets_of_cutmix_count_pixels() -> None:
    images, labels = flags(300)
    mixed, targets = mix(images, labels, torch.Generator().manual_seed(0), 300, cutmix=1.0)
    counted = torch.stack([(mixed == value).double().mean((1, 2, 3)) for value in range(300)], dim=1)
    torch.testing.assert_close(targets.double(), counted, rtol=0, atol=1e-6)
    # Centres are uniform, so every pixel is pasted over about as often in every quarter.
    pasted = (mixed[:, 0] != labels[:, None, None]).double().mean(0)
    quarters = pasted.unflatten(0, (2, 16)).unflatten(2, (2, 16)).mean((1, 3))
    assert quarters.min() > 0.8 * quarters.max()


def test_with_both_a_coin_decides_for_each_image() -> None:
    images, labels = flags(1000, 8, 8)
    mixed, _ = mix(images, labels, torch.Generator().manual_seed(0), 1000, mixup=1.0, cutmix=1.0)
    is_blend = ((mixed != mixed.round()).flatten(1).all(1)).double().mean().item()
    assert abs(is_blend - 0.5) < 0.06


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_small_batches_the_seed_and_what_is_left_alone(batch: int) -> None:
    images, labels = batch_of(batch)
    before, state = images.clone(), torch.get_rng_state()
    first = mix(images, labels, torch.Generator().manual_seed(1), 5, mixup=0.5, cutmix=0.5)
    again = mix(images, labels, torch.Generator().manual_seed(1), 5, mixup=0.5, cutmix=0.5)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    torch.testing.assert_close(images, before, rtol=0, atol=0)
    torch.testing.assert_close(torch.get_rng_state(), state, rtol=0, atol=0)
    assert first[0].shape == images.shape and first[1].shape == (batch, 5)
    torch.testing.assert_close(first[1].sum(1), torch.ones(batch))


def test_half_precision_stays_half_and_targets_single() -> None:
    images, labels = batch_of(4)
    mixed, targets = mix(images.bfloat16(), labels, torch.Generator(), 5, mixup=0.5, cutmix=0.5)
    assert mixed.dtype == torch.bfloat16 and targets.dtype == torch.float32


@pytest.mark.parametrize("wrong", [{"mixup": -1.0}, {"cutmix": -0.1}, {"smoothing": 1.0}])
def test_impossible_arguments_are_refused(wrong: dict[str, float]) -> None:
    images, labels = batch_of(3)
    with pytest.raises(ValueError, match=r"mixup and cutmix must be at least 0, smoothing .* but got mixup="):
        mix(images, labels, torch.Generator(), 5, **wrong)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cpu_generator_mixes_the_same_on_a_gpu() -> None:
    images, labels = batch_of(50)
    here = mix(images, labels, torch.Generator().manual_seed(5), 5, mixup=0.5, cutmix=0.5)
    there = mix(images.cuda(), labels.cuda(), torch.Generator().manual_seed(5), 5, mixup=0.5, cutmix=0.5)
    assert there[0].is_cuda and there[1].is_cuda
    torch.testing.assert_close(there[0].cpu(), here[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(there[1].cpu(), here[1], rtol=0, atol=1e-6)
