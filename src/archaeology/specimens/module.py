"""Any `nn.Module` as a specimen: its owner says how images are prepared and where tokens lie; one pass checks it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from archaeology.specimens.anatomy import convolves, transformer_target
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.options import Pair, Triple
from archaeology.specimens.specimen import Specimen


def of_module(
    model: nn.Module,
    *,
    name: str,
    classes: Sequence[str] = (),
    image_size: Pair,
    mean: Triple,
    std: Triple,
    layout: TokenLayout | None = None,
    target_layer: str | None = None,
) -> Specimen:
    """A model of your own, on the device where it is; it is put into evaluation mode.

    Args:
        model: Maps normalised images to logits (batch, classes).
        name: What reports call it.
        classes: In the order of the logits; empty where there are none.
        image_size: Height and width in pixels.
        mean: Of the normalisation, per channel, of images in [0, 1].
        std: Of the normalisation, per channel, of images in [0, 1].
        layout: Where the patches are among the tokens; None for a model without tokens.
        target_layer: Where Grad-CAM looks; found for a transformer with a list of blocks, else to be named.

    Raises:
        ValueError: If a blank image does not give logits for the classes, or there is no such layer.
    """
    if layout is not None:
        kind = "transformer"
    else:
        kind = "convolutional" if convolves(model) else "other"
    if target_layer is None and layout is not None:
        target_layer = transformer_target(model)
    specimen = Specimen(
        name=name,
        model=model.eval(),
        kind=kind,
        classes=tuple(classes),
        image_size=image_size,
        mean=mean,
        std=std,
        layout=layout,
        target_layer=target_layer,
        facts={"library": "your own", "architecture": type(model).__name__},
    )
    check_output(specimen)
    if target_layer is not None and target_layer not in dict(model.named_modules()):
        raise ValueError(
            f"target_layer must be the path of a module, but {type(model).__name__} has no {target_layer!r}; "
            "model.named_modules() lists them."
        )
    return specimen


def check_output(specimen: Specimen) -> None:
    """Run one blank image and look at what comes out.

    Raises:
        ValueError: If it is not one row of logits, as many as there are classes.
    """
    blank = torch.zeros(1, 3, *specimen.image_size)
    with torch.no_grad():
        logits = specimen.model(specimen.prepare(blank))
    if not isinstance(logits, Tensor):
        raise ValueError(
            f"{specimen.name} must give a tensor of logits, but gives {type(logits).__name__}; "
            "wrap it in a module that returns the logits."
        )
    if logits.ndim != 2 or len(logits) != 1:
        raise ValueError(
            f"{specimen.name} must give logits of shape (batch, classes), but gives {tuple(logits.shape)} for one "
            f"image of {specimen.image_size[0]} x {specimen.image_size[1]} pixels."
        )
    if specimen.classes and logits.shape[1] != len(specimen.classes):
        raise ValueError(
            f"{specimen.name} must have a name for every logit, but has {len(specimen.classes)} classes and "
            f"{logits.shape[1]} logits."
        )
