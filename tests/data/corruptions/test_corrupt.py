from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from archaeology.core.errors import UnknownNameError
from archaeology.data.corruptions import SEVERITIES, common_corruptions, corrupt, corruptions
from archaeology.data.corruptions.corruption import corruption
from archaeology.data.corruptions.draws import Draws

Pictures = Callable[..., Tensor]
RANDOM = {
    "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "motion_blur",
    "snow", "frost", "fog", "elastic_transform",
}  # fmt: skip
NAMES = corruptions.names()


def test_the_fifteen_common_ones_come_family_by_family() -> None:
    assert set(common_corruptions()) == {
        "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
        "snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
    }  # fmt: skip
    families = [corruptions.get(name).family for name in common_corruptions()]
    assert families == sorted(families, key=["noise", "blur", "weather", "digital"].index)
    assert set(NAMES) - set(common_corruptions()) == {"speckle_noise", "gaussian_blur", "saturate"}


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_corrupted_alone_as_in_any_batch(name: str, pictures: Pictures) -> None:
    images = pictures(3, 37, 33).float()
    state, before = torch.get_rng_state(), images.clone()
    together = corrupt(images, name, 3)
    assert together.shape == images.shape and together.dtype == images.dtype
    assert together.isfinite().all() and together.min() >= 0 and together.max() <= 1
    for i in (2, 0):
        torch.testing.assert_close(corrupt(images[i : i + 1], name, 3)[0], together[i], rtol=0, atol=2e-6)
    torch.testing.assert_close(corrupt(images, name, 3), together, rtol=0, atol=0)
    torch.testing.assert_close(images, before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.allclose(together, images, atol=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_eight_bits_singles_and_doubles_give_the_same(name: str, pictures: Pictures) -> None:
    images = pictures(2, 35, 43)
    double = corrupt(images, name, 2)
    assert double.dtype == torch.float64
    # JPEG and glass: nothing is near a threshold of its own in these pictures.
    torch.testing.assert_close(corrupt(images.float(), name, 2).double(), double, rtol=0, atol=2e-5)
    levels = (images * 255).round().to(torch.uint8)
    torch.testing.assert_close(corrupt(levels, name, 2).double(), double, rtol=0, atol=2e-5)
    half = corrupt(images.half(), name, 2)
    assert half.dtype == torch.float16


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(32, 32), (45, 101), (89, 97)])
def test_any_size_any_severity_also_in_grey(name: str, size: tuple[int, int], pictures: Pictures) -> None:
    images = pictures(1, *size, channels=1).float()
    for severity in SEVERITIES:
        made = corrupt(images, name, severity)
        assert made.shape == images.shape and made.isfinite().all()
        assert made.min() >= 0 and made.max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_only_random_ones_depend_on_the_seed(name: str, pictures: Pictures) -> None:
    images = pictures(2, 36, 34).float()
    same = torch.equal(corrupt(images, name, 4), corrupt(images, name, 4, seed=1))
    assert same == (name not in RANDOM)


@pytest.mark.parametrize("size", [(40, 33), (97, 90)])
def test_what_is_severer_is_further_from_the_image(size: tuple[int, int], pictures: Pictures) -> None:
    images = pictures(4, *size)
    # Published strengths are not in order of distance where two things change at once, or the picture saturates.
    ordered = ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "defocus_blur", "gaussian_blur",
               "zoom_blur", "brightness", "contrast", "jpeg_compression", "snow", "fog")  # fmt: skip
    for name in ordered:
        away = [float((corrupt(images, name, severity) - images).abs().mean()) for severity in (1, 2, 5)]
        assert away == sorted(away) and away[0] < away[2], (name, away)


def test_strengths_for_32_pixels_reach_up_to_84(pictures: Pictures) -> None:
    small, large = pictures(1, 84, 90), pictures(1, 85, 90)
    for images, factor in ((small, 0.5), (large, 0.3)):
        means = images.mean((2, 3), keepdim=True)
        torch.testing.assert_close(corrupt(images, "contrast", 2), (images - means) * factor + means)


def test_two_images_get_draws_of_their_own_two_same_ones_the_same() -> None:
    images = torch.full((3, 3, 32, 32), 0.5, dtype=torch.float64)
    images[2] = 0.25
    noise = corrupt(images, "gaussian_noise", 1) - images
    torch.testing.assert_close(noise[0], noise[1], rtol=0, atol=0)
    assert (noise[0] - noise[2]).abs().mean() > 0.02


def test_a_severer_one_is_more_of_the_same() -> None:
    images = torch.full((1, 3, 32, 32), 0.5, dtype=torch.float64)
    mild, severe = (corrupt(images, "gaussian_noise", severity) - images for severity in (1, 5))
    torch.testing.assert_close(severe, mild * 2.5)


@pytest.mark.parametrize("shape", [(3, 3, 31, 40), (2, 4, 32, 32), (0, 3, 32, 32)])
def test_images_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 32 pixels high and wide, but got shape"):
        corrupt(torch.zeros(shape), "fog", 1)


@pytest.mark.parametrize("wrong", [1.5, -0.2, float("nan")])
def test_values_out_of_range_are_refused(wrong: float) -> None:
    images = torch.full((1, 3, 32, 32), 0.5)
    images[0, 1, 2, 3] = wrong
    with pytest.raises(ValueError, match=r"images must lie in \[0, 1\].*divide by 255"):
        corrupt(images, "fog", 1)


def test_names_severities_and_seeds_that_do_not_exist_are_refused() -> None:
    images = torch.zeros(1, 3, 32, 32)
    with pytest.raises(UnknownNameError, match="did you mean 'gaussian_noise'"):
        corrupt(images, "gausian_noise", 1)
    for severity in (0, 6):
        with pytest.raises(ValueError, match="severity must be 1, 2, 3, 4 or 5"):
            corrupt(images, "fog", severity)
    with pytest.raises(ValueError, match="seed must be a whole number >= 0"):
        corrupt(images, "fog", 1, seed=-1)


def test_strengths_that_do_not_fit_the_operation_are_refused() -> None:
    def grows(images: Tensor, draws: Draws, factor: float) -> Tensor:
        return images * factor

    five = {"factor": (1.0, 2.0, 3.0, 4.0, 5.0)}
    with pytest.raises(ValueError, match=r"five values for each of \['factor'\]"):
        corruption("noise", small={"factor": (1.0, 2.0)}, large=five)(grows)
    with pytest.raises(ValueError, match=r"five values for each of \['factor'\]"):
        corruption("noise", small={"other": five["factor"]}, large=five)(grows)
    with pytest.raises(ValueError, match="family must be one of noise, blur"):
        corruption("rust", small=five, large=five)(grows)
    assert "grows" not in corruptions
