"""A model whose one head provably does the averaging, and the made-up examples that it averages."""

from dataclasses import dataclass

import torch
from torch import nn

from archaeology.attention import MultiHeadAttention
from archaeology.data.worlds.ratio import Ratio
from archaeology.data.worlds.rows import Rows

FEATURES = 6  # of a head: kind one-hot, spare, amplitude, constant


@dataclass(frozen=True)
class Amplitudes(Rows):
    """Each token has a kind (0 or 1) and an amplitude; the target is the mean amplitude of its kind."""

    kind: torch.Tensor
    amplitude: torch.Tensor

    @property
    def same(self) -> torch.Tensor:
        return self.kind[:, :, None] == self.kind[:, None, :]

    def pair(self) -> tuple[torch.Tensor, torch.Tensor]:
        one_hot = nn.functional.one_hot(self.kind, 2).float()
        rest = torch.stack(
            [torch.zeros_like(self.amplitude), self.amplitude, torch.ones_like(self.amplitude)], dim=-1
        )
        inputs = torch.cat([one_hot, rest, torch.zeros_like(rest[..., :1])], dim=-1)
        mean = (self.same * self.amplitude[:, None]).sum(-1) / self.same.sum(-1)
        return inputs, mean


def amplitudes(count: int, tokens: int = 11) -> Amplitudes:
    generator = torch.Generator().manual_seed(count)
    kind = torch.randint(2, (count, tokens), generator=generator)
    return Amplitudes(kind, torch.rand(count, tokens, generator=generator))


def scores(batch: Amplitudes, prediction: torch.Tensor) -> dict[str, Ratio]:
    _, target = batch.pair()
    error, apart = (prediction - target).abs().sum(1), (batch.amplitude - target).abs().sum(1)
    squared = ((prediction - target) ** 2).sum(1)
    return {"amplitude_error": Ratio(error, apart), "mse": Ratio(squared, torch.full_like(squared, 11.0))}


class Grouping(nn.Module):
    """Self-attention that says next to nothing, then cross-attention whose head 1 of 2 averages over the kind."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        width = 2 * FEATURES
        self.first = MultiHeadAttention(width, 2)
        self.second = MultiHeadAttention(width, 2, context_dim=width)
        with torch.no_grad():
            self.first.proj.weight.mul_(1e-3)
            self.first.proj.bias.zero_()
            q, kv = self.second.q.weight, self.second.kv.weight
            q[FEATURES:], kv[FEATURES:width], kv[width + FEATURES :] = 0, 0, 0
            for kind in (0, 1):
                q[FEATURES + kind, kind] = 60.0
                kv[FEATURES + kind, kind] = 1.0
            kv[width + FEATURES, 3] = 1.0  # the value is the amplitude
            for part in (self.second.q, self.second.kv, self.second.proj):
                part.bias.zero_()
            self.second.proj.weight.mul_(1e-3)
            self.second.proj.weight[0] = 0
            self.second.proj.weight[0, FEATURES] = 1.0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        tokens = torch.cat([inputs, torch.zeros_like(inputs)], dim=-1)
        tokens = tokens + self.first(tokens)
        return self.second(tokens, tokens)[..., 0]
