"""Relevance of a batch of images, against the same rule applied image by image as its authors publish it.

Theirs, for every image: a forward pass with attention written out, a backward pass that fills the gradients of all
parameters as `loss.backward()` does, and the whole matrix R through all layers, of which the class token's row is read.
Both get the same random weights, images and classes; maps are compared first. Lines without a target apply our own code
image by image. How much a batch helps is a matter of the model's size: where one image fills the processor, what is
spared is the gradients of the parameters; where it does not (65 tokens), most of the time of one image is overhead.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import timm
import torch
from torch import Tensor, nn

from archaeology.capture.record import capture
from archaeology.explain.relevance import relevance
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen
from benchmarks._side_by_side import comparison, report, seconds, setting

TARGET = 2.0


def ours(specimen: Specimen, images: Tensor, target: Tensor) -> Tensor:
    return relevance(capture(specimen, images, target=target, gradients=True)).heatmap


def ours_one_by_one(specimen: Specimen, images: Tensor, target: Tensor) -> Tensor:
    pairs = zip(images.split(1), target.split(1), strict=True)
    return torch.cat([ours(specimen, image, label) for image, label in pairs])


@contextmanager
def kept_patterns(model: nn.Module) -> Iterator[list[Tensor]]:
    """Patterns of timm's attention layers, written out, in the graph, their gradients kept."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        given[0].retain_grad()
        kept.append(given[0])

    layers = [block.attn for block in model.blocks]
    fused = [layer.fused_attn for layer in layers]
    handles = [layer.attn_drop.register_forward_pre_hook(keep) for layer in layers]
    try:
        for layer in layers:
            layer.fused_attn = False
        yield kept
    finally:
        for handle in handles:
            handle.remove()
        for layer, was in zip(layers, fused, strict=True):
            layer.fused_attn = was


def published(specimen: Specimen, images: Tensor, target: Tensor) -> Tensor:
    """The class token's row of R of every image in turn."""
    maps = []
    assert specimen.layout is not None
    for image, label in zip(images, target.tolist(), strict=True):
        with kept_patterns(specimen.model) as patterns:
            score = specimen.predict(image[None])[0, label]
            specimen.model.zero_grad()
            score.backward()
        relevance = torch.eye(patterns[0].shape[-1])
        for pattern in patterns:
            assert pattern.grad is not None
            evidence = (pattern.detach() * pattern.grad)[0].clamp(min=0).mean(0)
            relevance = relevance + evidence @ relevance
        maps.append(relevance[0, 1:].view(specimen.layout.rows, -1))
    specimen.model.zero_grad()
    return torch.stack(maps)


def specimen_of(name: str, model: nn.Module, size: int, rows: int) -> Specimen:
    layout = TokenLayout(rows, rows, ("class",))
    return Specimen(name, model.eval(), "transformer", (), (size, size), layout=layout)


def cases(small: bool) -> list[tuple[Specimen, int]]:
    """Specimens and sizes of batches."""
    name = "vit_tiny_patch16_224" if small else "vit_small_patch16_224"
    cifar = timm.models.VisionTransformer(
        img_size=32, patch_size=4, embed_dim=128, depth=6, num_heads=4, num_classes=100
    )
    return [
        (specimen_of("ViT of 65 tokens, 6 layers, width 128", cifar, 32, 8), 2 if small else 32),
        (specimen_of(name, timm.create_model(name, pretrained=False), 224, 14), 2 if small else 8),
    ]


def main() -> None:
    given = setting(__doc__)
    lines = []
    for specimen, batch in cases(given.small):
        images, target = torch.rand(batch, 3, *specimen.image_size), torch.arange(batch)
        maps = ours(specimen, images, target)
        for other in (published, ours_one_by_one):
            torch.testing.assert_close(
                maps, other(specimen, images, target), rtol=1e-3, atol=1e-4 * float(maps.max())
            )
        mine, theirs, one_by_one = seconds(
            given,
            *(partial(side, specimen, images, target) for side in (ours, published, ours_one_by_one)),
            rounds=5,
        )
        for peer, taken, promise in (("published rule", theirs, TARGET), ("ours", one_by_one, None)):
            lines.append(
                comparison(
                    f"relevance, {specimen.name}, batch {batch} against {peer} image by image, per image",
                    "torch",
                    ours=mine / batch * 1e3,
                    theirs=taken / batch * 1e3,
                    unit="ms",
                    target=promise,
                )
            )
    report("relevance", given, lines)


if __name__ == "__main__":
    sys.exit(main())
