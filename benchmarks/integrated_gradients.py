"""Integrated gradients of a ViT and a ResNet against captum: the same points of the same path, the same chunks.

Both get the same random weights, images and classes, and may work on as many points at once. Ours also asks for the
logits at both ends, to tell its own error.
"""

import sys
import warnings

import timm
import torch
import torchvision
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from archaeology.explain.integrated_gradients import integrated_gradients
from archaeology.specimens.specimen import Specimen
from benchmarks._side_by_side import Comparison, Setting, comparison, report, seconds, setting

TARGET = 1.0
AT_ONCE = 16


def cases(small: bool) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", pretrained=False, depth=2 if small else 12)
    return {"vit_tiny_patch16_224": vit.eval(), "ResNet-18": torchvision.models.resnet18(weights=None).eval()}


def ours(specimen: Specimen, images: Tensor, target: Tensor, steps: int) -> Tensor:
    found = integrated_gradients(specimen, images, target, steps=steps, at_once=AT_ONCE).attribution
    assert found is not None
    return found


def theirs(specimen: Specimen, images: Tensor, target: Tensor, steps: int) -> Tensor:
    package = IntegratedGradients(specimen.predict)
    start = torch.zeros_like(images)
    shares = package.attribute(images, start, target, n_steps=steps, internal_batch_size=AT_ONCE)
    return shares.sum(dim=1).detach()


def assert_same(one: Tensor, other: Tensor) -> None:
    difference = float((one - other).norm() / other.norm())
    if difference > 1e-4:
        raise AssertionError(f"shares must agree to 1e-4, but differ by {difference:.3g}")


def compared(given: Setting, name: str, model: nn.Module) -> Comparison:
    batch, steps = (2, 4) if given.small else (2, 32)
    specimen = Specimen(name, model, "other", (), (224, 224))
    images, target = torch.rand(batch, 3, 224, 224), torch.arange(batch) * 7
    assert_same(ours(specimen, images, target, 4), theirs(specimen, images, target, 4))
    mine, peer = seconds(
        given,
        lambda: ours(specimen, images, target, steps),
        lambda: theirs(specimen, images, target, steps),
        rounds=5,
    )
    return comparison(
        f"integrated gradients, {name}, {steps} steps, batch {batch}, per image",
        "captum",
        ours=mine / batch * 1e3,
        theirs=peer / batch * 1e3,
        unit="ms",
        target=TARGET,
    )


def main() -> None:
    given = setting(__doc__)
    warnings.filterwarnings("ignore")
    lines = [compared(given, name, model) for name, model in cases(given.small).items()]
    report("integrated_gradients", given, lines)


if __name__ == "__main__":
    sys.exit(main())
