"""Tiny random models to be attacked, and images that they are right about, because they say what is right."""

from dataclasses import replace

import torch
from tests.ablate import small_models as small
from torch import nn

from archaeology.specimens.specimen import Specimen

CLASSES = 7


def cnn(dtype=torch.float32, seed=0):
    """Two convolutions, each with a batch norm that has seen something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(3, 11, 3, padding=1),
            nn.BatchNorm2d(11),
            nn.ReLU(),
            nn.Conv2d(11, 13, 3, stride=2, bias=False),
            nn.BatchNorm2d(13),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(13, CLASSES),
        )
        for layer in model:
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.weight, 1, 0.3)
                nn.init.normal_(layer.bias, 0, 0.3)
                nn.init.normal_(layer.running_mean, 0, 0.3)
                nn.init.uniform_(layer.running_var, 0.2, 0.8)
        with torch.no_grad():
            model[-1].weight.mul_(20)
    return Specimen("tiny cnn", model.eval().to(dtype), "convolutional", (), (9, 11))


def vit(dtype=torch.float32):
    specimen = small.timm_vit()
    return replace(specimen, name="tiny vit", model=specimen.model.to(dtype))


def images(specimen, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    eight_bit = torch.randint(0, 256, (count, 3, *specimen.image_size), generator=generator)
    return eight_bit.to(specimen.dtype) / 255


def told(specimen, count, seed=0):
    """Images, and as labels what the model says of them."""
    pixels = images(specimen, count, seed)
    with torch.no_grad():
        return pixels, specimen.predict(pixels).argmax(dim=1)
