"""The package `imagecorruptions`, made to run with today's libraries and to draw our random numbers, gives our images.

Its strengths are those for 224 pixels. It works in levels of 0 to 255, some of them rounded on the way: tolerances
are in levels. Left out: frost (photographs there), elastic_transform (another one there), zoom_blur and the most severe
snow (zoomed about another middle there; the published code's middle is ours); these have oracles of their own.
"""

import sys
import types
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from archaeology.data.corruptions import corrupt
from archaeology.data.corruptions.draws import Draws, draws_for

Pictures = Callable[..., Tensor]
SIDE = 96


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """The package's module; a stand-in for `pkg_resources`, which it wants only to find its photographs."""
    pytest.importorskip("cv2")
    filters = pytest.importorskip("skimage.filters")
    finder = types.ModuleType("pkg_resources")
    finder.resource_filename = lambda *_: ""  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pkg_resources", finder)
    module = pytest.importorskip("imagecorruptions.corruptions")

    def gaussian(image: np.ndarray, sigma: float, multichannel: bool = False) -> np.ndarray:
        return filters.gaussian(image, sigma=sigma, channel_axis=-1 if multichannel else None)

    monkeypatch.setattr(module, "gaussian", gaussian)
    monkeypatch.setattr(np, "float_", np.float64, raising=False)
    yield module
    for name in [name for name in sys.modules if name.startswith("imagecorruptions")]:
        del sys.modules[name]


def drawn_as(monkeypatch: pytest.MonkeyPatch, **numbers: list[np.ndarray]) -> None:
    """NumPy's global draws become these standard ones, one array after the other."""
    queues = {name: iter(arrays) for name, arrays in numbers.items()}

    def normal(loc: float = 0.0, scale: float = 1.0, size: object = None) -> np.ndarray:
        return loc + scale * next(queues["normal"]).reshape(size)

    def uniform(low: float = 0.0, high: float = 1.0, size: object = None) -> np.ndarray:
        drawn = next(queues["uniform"])
        return low + (high - low) * (float(drawn) if size is None else drawn.reshape(size))

    def randint(low: int, high: int, size: object = None) -> np.ndarray:
        return next(queues["randint"])

    for name, function in (("normal", normal), ("uniform", uniform), ("randint", randint)):
        monkeypatch.setattr(np.random, name, function)


def numbers_for(name: str, draws: Draws) -> dict[str, list[np.ndarray]]:
    """What our corruption draws, in the order in which theirs asks for it."""
    if name in ("gaussian_noise", "speckle_noise"):
        return {"normal": [draws.normal("noise", 3, SIDE, SIDE)[0].permute(1, 2, 0).numpy()]}
    if name == "motion_blur":
        return {"uniform": [draws.uniform("angle")[0].numpy()]}
    if name == "snow":
        flakes = draws.normal("flakes", 1, SIDE, SIDE)[0, 0].numpy()
        return {"normal": [flakes], "uniform": [draws.uniform("angle")[0].numpy()]}
    if name == "fog":
        drawn, used, parts = draws.uniform("plasma", 128 * 128 - 1)[0].numpy(), 0, []
        for level in range(7):
            for _ in range(3):
                parts.append(drawn[used : used + 4**level])
                used += 4**level
        return {"uniform": parts}
    return {}


def theirs(package: types.ModuleType, name: str, image: Tensor, severity: int) -> Tensor:
    from PIL import Image

    levels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    made = getattr(package, name)(Image.fromarray(levels), severity)
    return torch.from_numpy(np.array(made, dtype=np.float64)).permute(2, 0, 1)


@pytest.mark.parametrize("severity", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("gaussian_noise", 1e-4), ("speckle_noise", 1e-4), ("gaussian_blur", 1e-4), ("defocus_blur", 1e-3),
        ("motion_blur", 1e-3), ("snow", 2.01), ("fog", 1e-3), ("brightness", 1e-4), ("contrast", 1e-4),
        ("saturate", 1e-4), ("pixelate", 1.01), ("jpeg_compression", 1e-4),
    ],
)  # fmt: skip
def test_same_images_from_the_same_draws(
    name: str,
    levels: float,
    severity: int,
    package: types.ModuleType,
    pictures: Pictures,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = pictures(1, SIDE, SIDE)
    drawn_as(monkeypatch, **numbers_for(name, draws_for(images, name, 0)))
    away = (corrupt(images, name, severity)[0] * 255 - theirs(package, name, images[0], severity)).abs()
    assert away.max() <= levels
    assert away.mean() <= {"pixelate": 0.5, "snow": 0.5}.get(name, 0.05)


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_same_glass_from_the_same_draws(
    severity: int, package: types.ModuleType, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pictures(1, SIDE, SIDE)
    reach, rounds = {1: (1, 2), 3: (2, 3), 5: (4, 2)}[severity]
    steps = (
        draws_for(images, "glass_blur", 0).whole("glass", -reach, reach - 1, rounds, 2, SIDE, SIDE)[0].numpy()
    )
    order = range(SIDE - reach, reach, -1)
    pairs = [steps[now, ::-1, row, column] for now in range(rounds) for row in order for column in order]
    drawn_as(monkeypatch, randint=pairs)
    away = (
        corrupt(images, "glass_blur", severity)[0] * 255 - theirs(package, "glass_blur", images[0], severity)
    ).abs()
    assert away.max() <= 1.01  # they round down to whole levels before copying


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("name", ["shot_noise", "impulse_noise"])
def test_same_statistics_of_noise(
    name: str, severity: int, package: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = torch.full((1, 3, 160, 170), 0.4, dtype=torch.float64)
    generator = np.random.RandomState(0)
    monkeypatch.setattr(np.random, "poisson", generator.poisson)
    made, other = corrupt(image, name, severity)[0] * 255, theirs(package, name, image[0], severity)
    assert float(made.mean()) == pytest.approx(float(other.mean()), rel=0.02)
    assert float(made.std()) == pytest.approx(float(other.std()), rel=0.04)
