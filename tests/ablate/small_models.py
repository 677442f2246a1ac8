"""Small random transformers of several makes, with sharp attention so that every head matters."""

import timm.models as tm
import torch
import torchvision
from torch import nn

from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen

CLASSES = 7


def images(count, height=6, width=9):
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def specimen(model, size=(6, 9), layout=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.6 if parameter.ndim > 1 else 0.3
            parameter.copy_(
                torch.randn(parameter.shape, generator=generator) * spread + (parameter.ndim == 1)
            )
    return Specimen("small", model.eval(), "transformer", (), size, layout=layout)


def timm_vit(class_token=True, depth=3, layout=None):
    model = tm.VisionTransformer(
        img_size=(6, 9),
        patch_size=3,
        embed_dim=15,
        depth=depth,
        num_heads=3,
        mlp_ratio=2,
        num_classes=CLASSES,
        class_token=class_token,
        global_pool="token" if class_token else "avg",
    )
    prefix, readout = (("class",), "class_token") if class_token else ((), "mean")
    return specimen(model, layout=layout or TokenLayout(2, 3, prefix, readout))


def torchvision_vit():
    model = torchvision.models.VisionTransformer(
        image_size=6, patch_size=3, num_layers=2, num_heads=3, hidden_dim=15, mlp_dim=22, num_classes=CLASSES
    )
    return specimen(model, (6, 6), TokenLayout(2, 2, ("class",)))


def swin():
    model = tm.SwinTransformer(
        img_size=8,
        patch_size=1,
        window_size=2,
        embed_dim=10,
        depths=(2, 1),
        num_heads=(2, 5),
        mlp_ratio=2,
        num_classes=CLASSES,
    )
    return specimen(model, (8, 8), TokenLayout(8, 8, (), "mean", order="windows"))


def cait():
    model = tm.Cait(
        img_size=6,
        patch_size=3,
        embed_dim=15,
        depth=2,
        num_heads=3,
        mlp_ratio=2,
        num_classes=CLASSES,
        init_values=1.0,
    )
    return specimen(model, (6, 6), TokenLayout(2, 2, ("class",)))


class _Attending(nn.Module):
    """Softmax attention of three heads by plain products, and nothing else."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(15, 45)

    def forward(self, tokens):
        query, key, value = self.project(tokens).unflatten(2, (3, 3, 5)).permute(2, 0, 3, 1, 4)
        heads = (query @ key.transpose(-2, -1)).softmax(-1) @ value
        return tokens + heads.transpose(1, 2).flatten(2)


class Looped(nn.Module):
    """One block used twice: it cannot be told from itself by its place in the model."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 15, 3, 3)
        self.block = _Attending()
        self.classify = nn.Linear(15, CLASSES)

    def forward(self, pixels):
        tokens = self.patches(pixels).flatten(2).mT
        return self.classify(self.block(self.block(tokens)).mean(1))


class Remembering(nn.Module):
    """The second block reads, behind everyone's back, what the first one left on a shelf."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 15, 3, 3)
        self.first, self.second = _Attending(), _Attending()
        self.classify = nn.Linear(15, CLASSES)
        self.first.register_forward_hook(self._shelve)

    def _shelve(self, module, given, output):
        self.shelf = output.mean(1)

    def forward(self, pixels):
        tokens = self.patches(pixels).flatten(2).mT
        read = self.second(self.first(tokens)).mean(1)
        return self.classify(read + self.shelf)
