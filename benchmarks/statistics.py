"""Six statistics of every head over 64 images: streamed by us, and from Hugging Face's `output_attentions`.

Both sides run the same weights. Theirs asks for all attentions of the batch and then computes each statistic in one
vectorised line; ours is `survey_heads`. Peak memory is taken in a fresh process for each side, above its level
after loading the model and a first pass over two images.
"""

import sys

import numpy as np
import torch
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification

from archaeology.core.memory import peak_mebibytes
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen
from archaeology.stats.distance import patch_distances
from archaeology.stats.survey import images_per_pass, survey_heads
from benchmarks._side_by_side import Setting, comparison, in_child, report, seconds, setting

NAMES = ("entropy", "distance", "participation", "largest_weight", "class_token_mass")
SAMPLED_ROWS = 8


class Logits(nn.Module):
    """A Hugging Face classifier that returns logits alone."""

    def __init__(self, inner: ViTForImageClassification) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images."""
        return self.inner(pixel_values=images).logits


def classifiers(small: bool) -> tuple[ViTForImageClassification, ViTForImageClassification]:
    """The same random weights twice: with fused attention for us, with the eager kind that output_attentions needs.

    Each gets a configuration of its own: a shared one would silently switch the first to the second's attention.
    """
    sizes = (
        {"image_size": 32, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2}
        if small
        else {}
    )
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
def from_attentions(
    model: ViTForImageClassification, images: Tensor, distances: Tensor
) -> dict[str, np.ndarray]:
    """Means over patch queries and images of every statistic, `(layer, head)`, in plain vectorised PyTorch."""
    attentions = model(pixel_values=(images.float() / 255 - 0.5) / 0.5, output_attentions=True).attentions
    found: dict[str, list[np.ndarray]] = {name: [] for name in (*NAMES, "gini")}
    for attention in attentions:
        weights = attention[:, :, 1:]
        patches = weights[..., 1:] / weights[..., 1:].sum(-1, keepdim=True)
        rows = {
            "entropy": -(weights * (weights + 1e-12).log()).sum(-1),
            "distance": (patches * distances).sum(-1),
            "participation": 1 / (weights**2).sum(-1) / weights.shape[-1],
            "largest_weight": weights.amax(-1),
            "class_token_mass": weights[..., 0],
            "gini": gini(weights[:, :, :: max(1, weights.shape[2] // SAMPLED_ROWS)]),
        }
        for name, value in rows.items():
            found[name].append(value.mean((0, 2)).numpy())
    return {name: np.stack(layers) for name, layers in found.items()}


def gini(weights: Tensor) -> Tensor:
    keys = weights.shape[-1]
    factor = 2 * torch.arange(1, keys + 1) - keys - 1
    return (weights.sort(-1).values * factor).sum(-1) / keys


def assert_same(ours: list[dict[str, object]], theirs: dict[str, np.ndarray]) -> None:
    """Everything that does not depend on which rows were sampled is the same number."""
    for name in NAMES:
        np.testing.assert_allclose([row[name] for row in ours], theirs[name].ravel(), rtol=1e-3, atol=1e-5)


def main() -> None:
    given = setting(__doc__)
    mine, peer = classifiers(given.small)
    specimen = specimen_of(mine)
    count, size = (8 if given.small else 64), mine.config.image_size
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    assert specimen.layout is not None
    distances = patch_distances(specimen.layout, (mine.config.patch_size,) * 2).float()
    step = images_per_pass(specimen)
    sides = {
        "ours": lambda part: survey_heads(specimen, part).table(),
        "theirs": lambda part: from_attentions(peer, part, distances),
        "streamed": lambda part: [from_attentions(peer, few, distances) for few in part.split(step)],
    }
    if given.measure is not None:
        sides[given.measure](images[:2])
        print(peak_mebibytes(lambda: sides[given.measure](images)))
        return
    assert_same(sides["ours"](images[:4]), sides["theirs"](images[:4]))
    compare(given, sides, images, step)


def compare(given: Setting, sides: dict, images: Tensor, step: int) -> None:
    for side in sides.values():
        side(images[:step])
    names = ("ours", "theirs", "streamed")
    times = seconds(
        given, *(lambda side=sides[name]: side(images) for name in names), rounds=3, warm_up=False
    )
    memory = [in_child("benchmarks.statistics", given, name) for name in names]
    what = f"statistics of all heads, {len(images)} images"
    by_hand = f"{what}, theirs cut by hand into batches of {step}"
    lines = [
        comparison(
            f"{case}: {unit}", "transformers", ours=taken[0], theirs=taken[side], unit=unit, target=target
        )
        for case, side, targets in ((what, 1, (1 / 1.2, 10)), (by_hand, 2, (None, None)))
        for taken, unit, target in ((times, "s", targets[0]), (memory, "MiB", targets[1]))
    ]
    report("statistics", given, lines)


if __name__ == "__main__":
    sys.exit(main())
