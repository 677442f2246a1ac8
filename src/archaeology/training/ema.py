"""Averaged weights: a copy that follows the model slowly, and often answers better than it.

`polyak1992acceleration`; the average starts young, as in TensorFlow's `ExponentialMovingAverage`, so that the first
random weights are soon forgotten. Buffers (statistics of batch normalisation) are copied, not averaged.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Average:
    """A moving average of a model's trained weights.

    Attributes:
        weights: One averaged tensor for each parameter that learns, by name.
        steps: How often the average has moved.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Start from the weights as they are; `decay` in [0, 1) is the share of the old average that is kept."""
        self.decay = decay
        self.steps = 0
        self._trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
        self.weights = {name: one.detach().clone() for name, one in self._trained.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights by one step."""
        self.steps += 1
        kept = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, parameter in self._trained.items():
            self.weights[name].lerp_(parameter, 1 - kept)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the model answers with the average."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, parameter in self._trained.items():
            kept = parameter.detach().clone()
            parameter.copy_(self.weights[name])
            self.weights[name].copy_(kept)

    @torch.no_grad()
    def take_over(self) -> None:
        """Give the model the average for good."""
        for name, parameter in self._trained.items():
            parameter.copy_(self.weights[name])
