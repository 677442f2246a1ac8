"""Statistics of every head: streamed by us, and from Hugging Face's `output_attentions`.

Both sides run the same weights. Theirs asks for all attentions of the batch and then computes each statistic in one
vectorised line; ours is `survey_heads`. "Attentions alone" is their forward pass with `output_attentions` and nothing
computed from it. "Five" asks both sides for five of the nine statistics. ViT-Base on 64 images (197 tokens), and six
layers of a ViT-Tiny on images of 768 pixels (2,305 tokens). Peak memory is taken in a fresh process for each side,
above its level after loading the model and a first pass.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification

from archaeology.core.memory import peak_mebibytes
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen
from archaeology.stats.distance import patch_distances
from archaeology.stats.neighbour_mass import patch_neighbours
from archaeology.stats.survey import images_per_pass, survey_heads
from benchmarks._side_by_side import Comparison, Setting, comparison, in_child, report, seconds, setting

NAMES = (
    "entropy",
    "distance",
    "participation",
    "largest_weight",
    "class_token_mass",
    "diagonal_mass",
    "neighbour_mass",
    "sink_mass",
)
FIVE = ("entropy", "participation", "class_token_mass", "diagonal_mass", "neighbour_mass")
SAMPLED_ROWS = 8


class Logits(nn.Module):
    """A Hugging Face classifier that returns logits alone."""

    def __init__(self, inner: ViTForImageClassification) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images."""
        return self.inner(pixel_values=images).logits


@dataclass(frozen=True)
class Case:
    """A model and how many images it is shown."""

    name: str
    sizes: dict[str, int]
    images: int
    faster: float  # than theirs with statistics
    alone: float  # than their attentions alone


TINY = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 3}
CASES = (
    Case("197 tokens", {}, 64, faster=1 / 1.1, alone=1 / 1.1),
    Case("2,305 tokens", TINY | {"image_size": 768}, 2, faster=2, alone=1),
)
SMALL = {"image_size": 32, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2}


def classifiers(sizes: dict[str, int]) -> tuple[ViTForImageClassification, ViTForImageClassification]:
    """The same random weights twice: with fused attention for us, with the eager kind that output_attentions needs.

    Each gets a configuration of its own: a shared one would silently switch the first to the second's attention.
    """
    ours = ViTForImageClassification(ViTConfig(**sizes, attn_implementation="sdpa")).eval()
    theirs = ViTForImageClassification(ViTConfig(**sizes, attn_implementation="eager")).eval()
    for layer in ours.vit.state_dict().values():
        if layer.ndim == 2:
            layer.mul_(3)  # sharper than at initialisation, so that heads differ
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def specimen_of(model: ViTForImageClassification) -> Specimen:
    grid = model.config.image_size // model.config.patch_size
    return Specimen(
        name="hf:vit",
        model=Logits(model).eval(),
        kind="transformer",
        classes=(),
        image_size=(model.config.image_size,) * 2,
        layout=TokenLayout(grid, grid, ("class",)),
    )


@torch.no_grad()
def attentions_alone(model: ViTForImageClassification, images: Tensor) -> tuple[Tensor, ...]:
    """What `output_attentions` gives, and nothing made of it."""
    return model(pixel_values=(images.float() / 255 - 0.5) / 0.5, output_attentions=True).attentions


@torch.no_grad()
def from_attentions(
    model: ViTForImageClassification,
    images: Tensor,
    layout: TokenLayout,
    names: Sequence[str] = (*NAMES, "gini"),
) -> dict[str, np.ndarray]:
    """Means over patch queries and images of statistics, `(layer, head)`, in plain vectorised PyTorch."""
    distances = patch_distances(layout, (model.config.patch_size,) * 2).float()
    around = patch_neighbours(layout)
    near = torch.zeros_like(distances).scatter_add_(1, around.clamp(min=0), (around >= 0).float())
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for attention in attentions_alone(model, images):
        weights = attention[:, :, 1:]
        for name, values in found.items():
            values.append(one_statistic(name, weights, distances, near).mean((0, 2)).numpy())
    return {name: np.stack(layers) for name, layers in found.items()}


def one_statistic(name: str, weights: Tensor, distances: Tensor, near: Tensor) -> Tensor:
    """A statistic of rows whose first key is the class token."""
    match name:
        case "entropy":
            return -(weights * (weights + 1e-12).log()).sum(-1)
        case "distance":
            patches = weights[..., 1:] / weights[..., 1:].sum(-1, keepdim=True)
            return (patches * distances).sum(-1)
        case "participation":
            return 1 / (weights**2).sum(-1) / weights.shape[-1]
        case "largest_weight":
            return weights.amax(-1)
        case "class_token_mass":
            return weights[..., 0]
        case "diagonal_mass":
            return weights.diagonal(1, -2, -1)
        case "neighbour_mass":
            return (weights[..., 1:] * near).sum(-1)
        case "sink_mass":
            return weights.mean(2)[..., 1:].amax(-1)[..., None]
        case _:
            return gini(weights[:, :, :: max(1, weights.shape[2] // SAMPLED_ROWS)])


def gini(weights: Tensor) -> Tensor:
    keys = weights.shape[-1]
    factor = 2 * torch.arange(1, keys + 1) - keys - 1
    return (weights.sort(-1).values * factor).sum(-1) / keys


def assert_same(ours: list[dict[str, object]], theirs: dict[str, np.ndarray]) -> None:
    """Everything that does not depend on which rows were sampled is the same number."""
    for name in NAMES:
        np.testing.assert_allclose([row[name] for row in ours], theirs[name].ravel(), rtol=1e-3, atol=1e-5)


def sides_of(case: Case, small: bool) -> tuple[dict[str, Callable[[Tensor], object]], Tensor]:
    """Every way to do a case, and its images."""
    mine, peer = classifiers(case.sizes | SMALL if small else case.sizes)
    specimen = specimen_of(mine)
    layout, size = specimen.layout, mine.config.image_size
    assert layout is not None
    images = torch.randint(0, 256, (min(case.images, 8 if small else 64), 3, size, size), dtype=torch.uint8)
    step = images_per_pass(specimen)
    sides = {
        "ours": lambda part: survey_heads(specimen, part).table(),
        "theirs": lambda part: from_attentions(peer, part, layout),
        "streamed": lambda part: [from_attentions(peer, few, layout) for few in part.split(step)],
        "alone": lambda part: attentions_alone(peer, part),
        "five": lambda part: survey_heads(specimen, part, names=FIVE).table(),
        "theirs-five": lambda part: from_attentions(peer, part, layout, FIVE),
    }
    assert_same(survey_heads(specimen, images[:2]).table(), from_attentions(peer, images[:2], layout))
    return sides, images


def main() -> None:
    given = setting(__doc__)
    if given.measure is not None:
        number, side = given.measure.split(":")
        sides, images = sides_of(CASES[int(number)], given.small)
        sides[side](images[:1])
        print(peak_mebibytes(lambda: sides[side](images)))
        return
    lines = [line for number in range(len(CASES)) for line in compare(given, number)]
    report("statistics", given, lines)


def compare(given: Setting, number: int) -> list[Comparison]:
    """The lines of one case."""
    case = CASES[number]
    sides, images = sides_of(case, given.small)
    names = ("ours", "theirs", "streamed", "alone", "five", "theirs-five")
    for name in names:
        sides[name](images[:1])
    times = seconds(
        given, *(lambda side=sides[name]: side(images) for name in names), rounds=3, warm_up=False
    )
    memory = [in_child("benchmarks.statistics", given, f"{number}:{name}") for name in names]
    what = f"{case.name}, {len(images)} images"
    return [
        comparison(
            f"{what}{how}: {unit}",
            "transformers",
            ours=taken[mine],
            theirs=taken[side],
            unit=unit,
            target=target,
        )
        for how, mine, side, targets in (
            ("", 0, 1, (case.faster, 10)),
            (", theirs cut by hand", 0, 2, (None, None)),
            (", attentions alone", 0, 3, (case.alone, 10)),
            (", five", 4, 5, (case.faster, 10)),
            (", five, attentions alone", 4, 3, (case.alone, 10)),
        )
        for taken, unit, target in ((times, "s", targets[0]), (memory, "MiB", targets[1]))
    ]


if __name__ == "__main__":
    sys.exit(main())
