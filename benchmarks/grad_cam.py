"""Grad-CAM of a ResNet-50 and of a ViT, against the package `grad-cam`, from images to maps of image size.

Both get the same random weights, images, classes and layer. Theirs enlarges its maps and stretches them to [0, 1] by
itself, so ours are enlarged and stretched too, inside the clock; then both are compared.
"""

import sys
import warnings
from dataclasses import dataclass

import timm
import torch
import torch.nn.functional as F
import torchvision
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from archaeology.capture.record import capture
from archaeology.explain.grad_cam import grad_cam
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen
from benchmarks._side_by_side import Comparison, Setting, comparison, report, seconds, setting

TARGET = 2.5


@dataclass(frozen=True)
class Case:
    """A model and the layer whose map is drawn."""

    name: str
    specimen: Specimen
    layer: str


def cases(small: bool) -> list[Case]:
    vit_name = "vit_tiny_patch16_224" if small else "vit_small_patch16_224"
    vit = timm.create_model(vit_name, pretrained=False).eval()
    resnet = torchvision.models.resnet50(weights=None).eval()
    return [
        Case("ResNet-50", specimen_of("resnet50", resnet, None), "layer4"),
        Case(vit_name, specimen_of(vit_name, vit, TokenLayout(14, 14, ("class",))), "blocks.11.norm1"),
    ]


def specimen_of(name: str, model: nn.Module, layout: TokenLayout | None) -> Specimen:
    kind = "convolutional" if layout is None else "transformer"
    return Specimen(name, model, kind, (), (224, 224), layout=layout)


def ours(case: Case, images: Tensor, target: Tensor) -> Tensor:
    record = capture(case.specimen, images, target=target, taps=(case.layer,), patterns=False, gradients=True)
    heatmap = F.interpolate(grad_cam(record).heatmap[:, None], (224, 224), mode="bilinear")[:, 0]
    return stretched(heatmap)


def stretched(heatmap: Tensor) -> Tensor:
    heatmap = heatmap - heatmap.amin((1, 2), keepdim=True)
    return heatmap / (1e-7 + heatmap.amax((1, 2), keepdim=True))


def theirs(case: Case, images: Tensor, target: Tensor) -> Tensor:
    def laid_out(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].unflatten(1, (14, 14)).movedim(-1, 1)

    layer = case.specimen.model.get_submodule(case.layer)
    reshape = None if case.specimen.layout is None else laid_out
    with GradCAM(case.specimen.model, [layer], reshape_transform=reshape) as package:
        classes = [ClassifierOutputTarget(int(number)) for number in target]
        return torch.from_numpy(package(case.specimen.prepare(images), classes))


def assert_same(one: Tensor, other: Tensor) -> None:
    """Maps agree up to the package's own order of enlarging and stretching."""
    close = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
    difference = (one - other).abs().max()
    if close < 0.999 or difference > 0.05:
        raise AssertionError(f"maps must agree, but correlate at {close:.4f} and differ by {difference:.3g}")


def compared(given: Setting, case: Case, batch: int) -> Comparison:
    images = torch.rand(batch, 3, 224, 224)
    target = torch.arange(batch) * 7
    assert_same(ours(case, images[:2], target[:2]), theirs(case, images[:2], target[:2]))
    mine, peer = seconds(
        given, lambda: ours(case, images, target), lambda: theirs(case, images, target), rounds=5
    )
    return comparison(
        f"Grad-CAM, {case.name}, {case.layer}, batch {batch}, per image",
        "grad-cam",
        ours=mine / batch * 1e3,
        theirs=peer / batch * 1e3,
        unit="ms",
        target=TARGET,
    )


def main() -> None:
    given = setting(__doc__)
    warnings.filterwarnings("ignore")
    batch = 2 if given.small else 8
    report("grad_cam", given, [compared(given, case, batch) for case in cases(given.small)])


if __name__ == "__main__":
    sys.exit(main())
