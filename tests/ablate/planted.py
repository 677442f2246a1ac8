"""A model that was built, not trained, so that what each head is worth is known.

Images are of one colour: red or not, green or not; the class is 2 x red + green. Heads (gone, they say zero):
layer 0: head 0 reads red (as layer 1's head 0 does: either is enough), head 1 helps with green a little, head 2 does
nothing. Layer 1: head 0 reads red, head 1 reads green and nobody else could. The MLP of layer 1 cuts what both say of
red off at one; the MLP of layer 0 does nothing.
"""

import torch
import torch.nn.functional as F
from torch import nn

from archaeology.specimens.specimen import Specimen

RED, GREEN, SAID_RED, SAID_GREEN, SURELY_RED = range(5)
A, HELPER, USELESS, B, DECISIVE = (0, 0), (0, 1), (0, 2), (1, 0), (1, 1)


class Block(nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.num_heads = len(heads)
        self.value = nn.Linear(5, len(heads), bias=False)
        self.proj = nn.Linear(len(heads), 5, bias=False)
        self.mlp = nn.Sequential(nn.Linear(5, 2), nn.ReLU(), nn.Linear(2, 5))
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            for head, (reads, writes, strength) in enumerate(heads):
                self.value.weight[head, reads] = 1
                self.proj.weight[writes, head] = strength

    def forward(self, tokens):
        value = self.value(tokens).mT[..., None]  # (image, head, token, 1)
        same = torch.zeros_like(value)
        answer = F.scaled_dot_product_attention(same, same, value)  # the mean over tokens
        tokens = tokens + self.proj(answer[..., 0].mT)
        return tokens + self.mlp(tokens)


class Planted(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 5, 3, 3, bias=False)
        first = Block([(RED, SAID_RED, 1), (GREEN, SAID_GREEN, 0.02), (RED, RED, 0)])
        second = Block([(RED, SAID_RED, 1), (GREEN, SAID_GREEN, 1)])
        self.blocks = nn.Sequential(first, second)
        self.classify = nn.Linear(5, 4)
        with torch.no_grad():
            self.patches.weight.zero_()
            self.patches.weight[RED, 0] = self.patches.weight[GREEN, 1] = 1 / 9
            hidden, out = second.mlp[0], second.mlp[2]
            hidden.weight[:, SAID_RED], hidden.bias[1] = 1, -1  # relu(x) - relu(x - 1) = min(x, 1)
            out.weight[SURELY_RED, 0], out.weight[SURELY_RED, 1] = 1, -1
            self.classify.weight.zero_()
            for label in range(4):
                red, green = 2 * (label // 2) - 1, 2 * (label % 2) - 1
                self.classify.weight[label, SURELY_RED], self.classify.weight[label, SAID_GREEN] = (
                    4 * red,
                    4 * green,
                )
                self.classify.bias[label] = -2 * red - 2 * green

    def forward(self, pixels):
        return self.classify(self.blocks(self.patches(pixels).flatten(2).mT).mean(1))


def specimen():
    return Specimen(
        "planted",
        Planted().eval(),
        "transformer",
        (),
        (6, 9),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )


def coloured(labels):
    images = torch.zeros(len(labels), 3, 6, 9, dtype=torch.uint8)
    images[:, 0] = 255 * (labels // 2)[:, None, None]
    images[:, 1] = 255 * (labels % 2)[:, None, None]
    return images


def examples(count):
    labels = torch.arange(count) % 4
    return coloured(labels), labels
