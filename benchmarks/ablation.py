"""Every head of every layer replaced by zero, exactly: by us, and by one hooked forward pass for each head.

Theirs is what one writes by hand for timm: a hook before the projection of the heads sets one head's features to zero,
the whole model runs, the next head follows. Both see the same images in the same batches' worth; ours includes finding
the blocks and checking itself on the first batch.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archaeology.ablate.heads import ablate_heads
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen
from benchmarks._side_by_side import Comparison, Setting, comparison, report, seconds, setting

TARGET = 2.0


@contextmanager
def silenced(block: nn.Module, head: int) -> Iterator[None]:
    """One head of a timm block says nothing inside the block."""
    dim = block.attn.head_dim

    def hook(module: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
        features = given[0].clone()
        features[..., head * dim : (head + 1) * dim] = 0
        return (features,)

    handle = block.attn.proj.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def by_hooks(specimen: Specimen, images: Tensor, labels: Tensor, batch: int) -> np.ndarray:
    """Loss with each head silenced, `(image, layer, head)`."""
    model = specimen.model
    losses = []
    for some, truth in zip(images.split(batch), labels.split(batch), strict=True):
        prepared = specimen.prepare(some)
        model(prepared)  # the whole model, to compare with
        of_layers = []
        for block in model.blocks:
            of_heads = []
            for head in range(block.attn.num_heads):
                with silenced(block, head):
                    of_heads.append(F.cross_entropy(model(prepared), truth, reduction="none"))
            of_layers.append(torch.stack(of_heads, -1))
        losses.append(torch.stack(of_layers, 1))
    return torch.cat(losses).numpy()


def compared(given: Setting, name: str, count: int, batch: int, rounds: int) -> Comparison:
    model = timm.create_model(name, pretrained=False, num_classes=1000).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(2)  # so that heads differ more than at initialisation
    specimen = Specimen(name, model, "transformer", (), (224, 224), layout=TokenLayout(14, 14, ("class",)))
    images = torch.randint(0, 256, (count, 3, 224, 224), dtype=torch.uint8)
    labels = torch.randint(0, 1000, (count,))
    few = slice(0, 2)
    result = ablate_heads(specimen, images[few], labels[few], replacement="zero")
    expected = by_hooks(specimen, images[few], labels[few], batch)
    np.testing.assert_allclose(result.ablated_loss, expected, rtol=1e-3, atol=1e-3)
    assert np.abs(expected - result.loss[:, None, None]).max() > 0.01, "no head matters: nothing is compared"
    mine, peer = seconds(
        given,
        lambda: ablate_heads(specimen, images, labels, replacement="zero"),
        lambda: by_hooks(specimen, images, labels, batch),
        rounds=rounds,
        warm_up=False,  # the comparison above has run both
    )
    depth, heads = len(model.blocks), model.blocks[0].attn.num_heads
    return comparison(
        f"ablation of all {depth * heads} heads, {name}, {count} images, per image",
        "timm",
        ours=mine / count,
        theirs=peer / count,
        unit="s",
        target=TARGET,
    )


def main() -> None:
    given = setting(__doc__)
    if given.small:
        lines = [compared(given, "vit_tiny_patch16_224", count=2, batch=2, rounds=1)]
    else:
        lines = [
            compared(given, "vit_tiny_patch16_224", count=32, batch=8, rounds=1),
            compared(given, "vit_small_patch16_224", count=12, batch=8, rounds=1),
        ]
    report("ablation", given, lines)


if __name__ == "__main__":
    sys.exit(main())
