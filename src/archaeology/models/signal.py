"""The two ends that all models of signals share: from samples to tokens, and back to samples.

A token stands for `patch_size` samples and sees about seven times as many: patches that overlap, then a convolution
over five tokens. On the way back each token reads its neighbours and writes its own samples, laid end to end; as its
neighbours' samples were made of the same tokens, there is no seam. What models do in between is all they differ in.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

Signal = Float[Tensor, "batch length"]
Maps = Float[Tensor, "batch embed token"]


class SignalStem(nn.Module):
    """From samples to tokens: a strided convolution over three patches, then one over five tokens."""

    def __init__(self, length: int, patch_size: int, embed_dim: int) -> None:
        """For signals of `length` samples.

        Raises:
            ValueError: If the patches do not fill the signal, or there are no features.
        """
        super().__init__()
        if patch_size < 1 or length < patch_size or length % patch_size:
            raise ValueError(
                f"patch_size must divide length, but got {length=}, {patch_size=}; choose another patch_size."
            )
        if embed_dim < 1:
            raise ValueError(f"embed_dim must be >= 1, but got {embed_dim}.")
        self.length = length
        self.patches = nn.Conv1d(1, embed_dim, 3 * patch_size, stride=patch_size, padding=patch_size)
        self.neighbours = nn.Conv1d(embed_dim, embed_dim, 5, padding=2)
        self.activation = nn.GELU()
        # Signals are small and mostly zero: this keeps tokens of the size that sinusoidal positions have.
        nn.init.normal_(self.patches.weight, std=patch_size**-0.5)

    def forward(self, signals: Signal) -> Maps:
        """Tokens of signals.

        Raises:
            ValueError: If the signals have another length than the model was built for.
        """
        if signals.shape[1] != self.length:
            raise ValueError(
                f"signals must be {self.length} samples long, but got {signals.shape[1]}; build the model with "
                "that length."
            )
        maps = self.activation(self.patches(signals[:, None]))
        return self.activation(self.neighbours(maps))


class SignalHead(nn.Module):
    """From tokens back to samples: each token reads its two neighbours and writes `patch_size` samples."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.neighbours = nn.Conv1d(embed_dim, embed_dim, 3, padding=1)
        self.activation = nn.GELU()
        self.samples = nn.Conv1d(embed_dim, patch_size, 1)
        calm(self.samples)

    def forward(self, maps: Maps) -> Signal:
        """Samples of tokens, in order."""
        return self.samples(self.activation(self.neighbours(maps))).transpose(1, 2).flatten(1)


@torch.no_grad()
def calm(layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
    """Start the last layer of a model near zero, so that its first answers are, and training begins calmly."""
    layer.weight.mul_(0.1)
    if layer.bias is not None:
        layer.bias.zero_()
