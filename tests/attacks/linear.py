"""A model whose boundaries are planes, so that the smallest change is known."""

import torch
from torch import nn

from archaeology.specimens.specimen import Specimen

SIZE = (4, 7)


def model(classes=5, dtype=torch.float64):
    """Logits are a product with the image, small enough that no smallest change leaves [0, 1]."""
    generator = torch.Generator().manual_seed(3)
    head = nn.Linear(3 * SIZE[0] * SIZE[1], classes)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator))
        head.bias.zero_()
    return Specimen("planes", nn.Sequential(nn.Flatten(), head).eval().to(dtype), "other", (), SIZE)


def told(specimen, count=6):
    """Images near grey, and what the model says of them."""
    generator = torch.Generator().manual_seed(5)
    images = 0.5 + 0.05 * torch.randn(count, 3, *SIZE, generator=generator, dtype=specimen.dtype)
    with torch.no_grad():
        return images, specimen.predict(images).argmax(dim=1)


def smallest(specimen, images, labels, norm):
    """Distance to the nearest plane: how much is missing over the dual norm of the difference of weights."""
    weight = 2 * specimen.model[-1].weight.detach()  # images are stretched from [0, 1] to [-1, 1]
    found = []
    for image, label in zip(images, labels.tolist(), strict=True):
        logits = specimen.predict(image[None])[0].detach()
        far = []
        for rival in range(len(weight)):
            if rival != label:
                steep = (weight[rival] - weight[label]).norm(p=2 if norm == "l2" else 1)
                far.append(float((logits[label] - logits[rival]) / steep))
        found.append(min(far))
    return torch.tensor(found, dtype=torch.float64)
