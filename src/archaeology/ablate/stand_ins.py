"""What is said instead of a part that is taken out: nothing, what it says on average, or what it says of another image.

Zero also takes away what a part adds to every image alike, which later layers count on. The mean takes away only what
it says about this image, but is an answer that no image ever got. Another image's answer is a real one, and wrong
(resample ablation, or, where the other image is chosen, activation patching). Sources: `wang2023interpretability`
(mean), `chan2022causal` (another's).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from archaeology.ablate.means import mean_answers
from archaeology.capture.attention import Attention
from archaeology.capture.interceptor import intercepted
from archaeology.capture.outputs import outputs_kept
from archaeology.core.halving import in_halves
from archaeology.core.registry import unknown_name
from archaeology.core.seeding import torch_generator
from archaeology.core.shapes import Image, PixelImage
from archaeology.specimens.specimen import Specimen

REPLACEMENTS = ("mean", "zero", "another")


@dataclass(frozen=True, eq=False)
class StandIns:
    """Answers to put in; a layer or path that is not there is replaced by zero.

    Attributes:
        heads: For each attention layer, as `HeadEdit.replacement` takes them.
        outputs: For each module path, as `OutputEdit.replacement` takes them.
        num_images: How many images, one after the other, these are the answers for; 0 if the same for all images.
    """

    heads: dict[int, Tensor]
    outputs: dict[str, Tensor]
    num_images: int = 0

    def of(self, image: int) -> "StandIns":
        """Those of one image alone."""
        if self.num_images == 0:
            return self

        def part(tensor: Tensor) -> Tensor:
            return tensor.unflatten(0, (self.num_images, -1))[image]

        return StandIns(
            {layer: part(tensor) for layer, tensor in self.heads.items()},
            {path: part(tensor) for path, tensor in self.outputs.items()},
            1,
        )


def check_replacement(replacement: str) -> None:
    """Refuse a replacement that there is not.

    Raises:
        UnknownNameError: If it is none of `REPLACEMENTS`.
    """
    if replacement not in REPLACEMENTS:
        raise unknown_name("replacement", replacement, list(REPLACEMENTS))


@torch.no_grad()
def answers(specimen: Specimen, images: Image | PixelImage, paths: tuple[str, ...] = ()) -> StandIns:
    """What every head, and every module of `paths`, says of each of these images."""
    heads: dict[int, Tensor] = {}

    def keep(attention: Attention) -> None:
        heads[attention.index] = attention.output

    with intercepted(specimen.model, keep), outputs_kept(specimen.model, paths) as kept:
        specimen.predict(images)
    return StandIns(heads, dict(kept), len(images))


def mean_stand_ins(
    specimen: Specimen, images: Image | PixelImage, paths: tuple[str, ...], at_once: int
) -> StandIns:
    """What every head, and every module of `paths`, says at each place on average over these images."""
    means = StandIns({}, {})
    for which, found in in_halves(
        lambda which: _means_of(specimen, images[which], paths), len(images), at_once
    ):
        share = (which.stop - which.start) / len(images)
        for layer, mean in found.heads.items():
            means.heads[layer] = mean * share + means.heads.get(layer, 0)
        for path, mean in found.outputs.items():
            means.outputs[path] = mean * share + means.outputs.get(path, 0)
    return means


def _means_of(specimen: Specimen, images: Image | PixelImage, paths: tuple[str, ...]) -> StandIns:
    with outputs_kept(specimen.model, paths) as kept:
        heads = mean_answers(specimen.model, specimen.predict, [images])
    outputs = {path: output.float().mean(dim=0, keepdim=True) for path, output in kept.items()}
    return StandIns(dict(enumerate(heads)), outputs)


def drawn_others(count: int, seed: int) -> Int[Tensor, " image"]:
    """Another one of so many images for each of them, drawn evenly among all the others.

    Raises:
        ValueError: If there is no other.
    """
    if count < 2:
        raise ValueError(
            "replacement='another' needs at least two images to draw from, but got one; pass others=..., the images "
            "whose answers are to be put in."
        )
    steps = torch.randint(1, count, (count,), generator=torch_generator(seed, "another image", count))
    return (torch.arange(count) + steps) % count
