"""Every head of every layer replaced by zero, exactly: by us, and by one hooked forward pass for each head.

Theirs is what one writes by hand for timm: a hook before the projection of the heads sets one head's features to zero,
the whole model runs, the next head follows. Both see the same images in the same batches; ours includes finding the
blocks and checking itself on the first batch. Of a large model theirs is timed for one head of each layer, and counted
as many times as there are heads: every pass of theirs is the same work. Logits of those heads are compared. In bfloat16
ours is compared with theirs in float32, which is what it stands in for, and for information with theirs in bfloat16.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import timm
import torch
from torch import Tensor, nn

from archaeology.ablate.cuts import of_each_head, places_of
from archaeology.ablate.trial import trial_of
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen
from benchmarks._side_by_side import Comparison, Setting, comparison, report, seconds, setting

TARGET, HALF_TARGET = 2.0, 3.0
TOLERANCE = 1e-4


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
def by_hooks(specimen: Specimen, images: Tensor, batch: int, heads: list[tuple[int, int]]) -> Tensor:
    """Logits with each of these heads silenced, `(head, image, classes)`."""
    model = specimen.model
    parts = []
    for some in images.split(batch):
        prepared = specimen.prepare(some)
        model(prepared)  # the whole model, to compare with
        of_heads = []
        for layer, head in heads:
            with silenced(model.blocks[layer], head):
                of_heads.append(model(prepared))
        parts.append(torch.stack(of_heads))
    return torch.cat(parts, dim=1)


def by_us(specimen: Specimen, images: Tensor, labels: Tensor, batch: int | None = None) -> Tensor:
    """Logits with each head silenced, `(head, image, classes)`: all that `ablate_heads` does but to judge them."""
    trial = trial_of(specimen, images, labels, replacement="zero", batch_size=batch)
    parts = [found.ablated for _, found in trial.logits(of_each_head(trial.sweep.heads))]
    return torch.cat(parts, dim=1)


def specimen_of(name: str, dtype: torch.dtype) -> Specimen:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=1000).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(2)  # so that heads differ more than at initialisation
    layout = TokenLayout(14, 14, ("class",))
    return Specimen(name, model.to(dtype), "transformer", (), (224, 224), layout=layout)


def compared(
    given: Setting, name: str, count: int, batch: int, rounds: int, *, one_head_a_layer: bool = False
) -> list[Comparison]:
    full, half = specimen_of(name, torch.float32), specimen_of(name, torch.bfloat16)
    images = torch.randint(0, 256, (count, 3, 224, 224), dtype=torch.uint8)
    labels = torch.randint(0, 1000, (count,))
    sizes = [block.attn.num_heads for block in full.model.blocks]
    places = places_of(sizes)
    tried = [(layer, layer % size) for layer, size in enumerate(sizes)] if one_head_a_layer else places
    kept: dict[str, Tensor] = {}

    def keep(side: str, logits: Tensor) -> None:
        kept[side] = logits

    mine, mine_half, peer, peer_half = seconds(
        given,
        lambda: keep("ours", by_us(full, images, labels)),
        lambda: keep("half", by_us(half, images, labels)),
        lambda: keep("theirs", by_hooks(full, images, batch, tried)),
        lambda: by_hooks(half, images, batch, tried),
        rounds=rounds,
        warm_up=False,
    )
    ours = kept["ours"][[places.index(place) for place in tried]]
    difference = float((ours - kept["theirs"]).abs().max())
    effect = float((kept["theirs"] - kept["theirs"].mean(0)).abs().max())
    halved = float((kept["half"].float() - kept["ours"]).abs().max())
    print(
        f"{name}: logits of ours and theirs differ by {difference:.1e} in float32 (heads change them by {effect:.2f}), "
        f"ours in bfloat16 from ours in float32 by {halved:.1e}"
    )
    if difference > TOLERANCE or effect < 100 * TOLERANCE:
        raise AssertionError(f"ours and theirs must agree to {TOLERANCE} where heads matter")
    times = (len(places) + 1) / (len(tried) + 1) / count
    case = f"ablation of all {len(places)} heads, {name}, {count} images, per image"

    def line(kind: str, ours: float, theirs: float, target: float | None) -> Comparison:
        return comparison(
            case + kind, "timm", ours=ours / count, theirs=theirs * times, unit="s", target=target
        )

    return [
        line("", mine, peer, TARGET),
        line(", bfloat16 against float32", mine_half, peer, HALF_TARGET),
        line(", both bfloat16", mine_half, peer_half, None),
    ]


def main() -> None:
    given = setting(__doc__)
    if given.small:
        lines = compared(given, "vit_tiny_patch16_224", count=2, batch=2, rounds=1)
    else:
        lines = compared(given, "vit_tiny_patch16_224", count=8, batch=8, rounds=1)
        lines += compared(given, "vit_base_patch16_224", count=2, batch=2, rounds=1, one_head_a_layer=True)
    report("ablation", given, lines)


if __name__ == "__main__":
    sys.exit(main())
