"""Models small enough for loops, in float64: a transformer of 2 x 3 patches and a network without any."""

from dataclasses import replace

import torch
from tests.ablate import small_models as small
from torch import nn

from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen

CLASSES = small.CLASSES


def transformer(class_token=True, depth=2):
    made = small.timm_vit(class_token=class_token, depth=depth)
    made.model.double()
    return replace(made, name="transformer")


def network():
    """A convolutional network on images of the same size."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.GELU(), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(30, CLASSES)
    )
    return Specimen("network", model.double().eval(), "convolutional", (), (6, 9), target_layer="2")


def images(count, height=6, width=9):
    return small.images(count, height, width).double() / 255


def own_answers(specimen, some):
    """The classes the model itself gives."""
    with torch.no_grad():
        return specimen.predict(some).argmax(1)


LAYOUT = TokenLayout(2, 3, ("class",))
