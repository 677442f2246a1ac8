"""One mechanism at one length, ready to run: built for that length, with inputs in place."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from archaeology.attention.mechanism import LayerShape, Mechanism
from archaeology.attention.multi_head import build_mechanism
from archaeology.core.seeding import derived_seed
from archaeology.zoo.config import ZooConfig
from archaeology.zoo.inputs import Sample, grid_for, sample

DENSE = "softmax"  # the yardstick
STEPS = ("forward", "forward+backward")


@dataclass(frozen=True)
class Subject:
    """What is timed.

    Attributes:
        name: Of the mechanism.
        length: Tokens.
        mechanism: Built for `length`.
        given: Queries, keys, values and the gradient of the answer, in the dtype asked for.
    """

    name: str
    length: int
    mechanism: Mechanism
    given: Sample

    def forward(self) -> Tensor:
        """The answer, without a thought of gradients."""
        with torch.no_grad():
            return self.mechanism.eval()(self.given.query, self.key, self.given.value)

    def forward_and_backward(self) -> tuple[Tensor | None, ...]:
        """Gradients of all inputs and parameters, as in a step of training."""
        query, value = (tensor.detach().requires_grad_() for tensor in (self.given.query, self.given.value))
        shared = self.mechanism.shares_query_and_key
        key = query if shared else self.given.key.detach().requires_grad_()
        inputs = [query, value] if shared else [query, key, value]
        answer = self.mechanism.train()(query, key, value)
        wanted = [*inputs, *(part for part in self.mechanism.parameters() if part.requires_grad)]
        return torch.autograd.grad(answer, wanted, self.given.gradient, allow_unused=True)

    @property
    def key(self) -> Tensor:
        """The keys; the queries, for a mechanism that has them serve as keys."""
        return self.given.query if self.mechanism.shares_query_and_key else self.given.key

    def run(self, step: str) -> Callable[[], object]:
        """What `step` is: one of `STEPS`."""
        return {"forward": self.forward, "forward+backward": self.forward_and_backward}[step]


def subject(name: str, length: int, config: ZooConfig) -> Subject:
    """The mechanism `name` with inputs of `length` tokens for timing.

    Raises:
        UnknownNameError: If there is no such mechanism.
        ValueError: If it cannot be built for that length.
    """
    given = sample(
        "structured", length, config.heads, config.head_dim, score_std=config.score_stds[-1], seed=config.seed
    )
    return Subject(name, length, built(name, length, config), in_dtype(given, config.dtype))


def built(name: str, length: int, config: ZooConfig, draw: int = 0) -> Mechanism:
    """The mechanism for sequences of `length`, with its default options; what it draws depends on seed and draw."""
    shape = LayerShape(config.heads, config.head_dim, num_tokens=length, grid=grid_for(length))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "zoo", name, length, draw))
        return build_mechanism(name, shape, {}).to(getattr(torch, config.dtype))


def in_dtype(given: Sample, dtype: str) -> Sample:
    """The same numbers in another precision."""
    return Sample(*(tensor.to(getattr(torch, dtype)) for tensor in vars(given).values()))
