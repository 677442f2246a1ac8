"""Write on, one token after the other: ask the model what may come next, choose, append, ask again.

Choices: the likeliest, or drawn at random, from all tokens or from the likely ones: the k likeliest
(`fan2018hierarchical`), or as few as hold a share p of the probability (`holtzman2020curious`). A cache saves computing
earlier tokens again and changes nothing else. Differs: all random numbers are drawn beforehand, one for each example
and token, and choose by their place in the cumulative distribution; so an example depends neither on what others
draw nor on whether they have stopped.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from archaeology.models.decoder import Decoder


@runtime_checkable
class Strategy(Protocol):
    """How to choose among the tokens that may come next."""

    @property
    def is_random(self) -> bool:
        """Whether the choice needs random numbers."""
        ...

    def choose(
        self, logits: Float[Tensor, "batch vocabulary"], chance: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        """A token for every example; `chance` is uniform in [0, 1)."""
        ...


@dataclass(frozen=True)
class Greedy:
    """The likeliest token, always."""

    is_random = False

    def choose(
        self, logits: Float[Tensor, "batch vocabulary"], chance: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        """The likeliest; `chance` is left alone."""
        return logits.argmax(dim=-1)


@dataclass(frozen=True)
class Sampling:
    """A token drawn by its probability.

    Attributes:
        temperature: Scores are divided by it: below 1 likely tokens get likelier, above 1 all come closer.
        top_k: Only so many of the likeliest are drawn from; None for all.
        top_p: Of those, only as few of the likeliest as hold this share of the probability; None for all.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    is_random = True

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(
                f"temperature must be above 0, but got {self.temperature}; Greedy() is its limit at 0."
            )
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be 1 or more tokens, but got {self.top_k}.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be a share above 0 and at most 1, but got {self.top_p}.")

    def choose(
        self, logits: Float[Tensor, "batch vocabulary"], chance: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        """The token whose stretch of the cumulative distribution `chance` falls into, likeliest first."""
        probabilities, token = self.probabilities(logits).sort(dim=-1, descending=True, stable=True)
        ends = probabilities.cumsum(dim=-1)
        rank = (ends <= chance[:, None] * ends[:, -1:]).sum(dim=-1, keepdim=True)
        last = (probabilities > 0).sum(dim=-1, keepdim=True) - 1  # where rounding would go beyond
        return token.gather(-1, rank.minimum(last))[:, 0]

    def probabilities(self, logits: Float[Tensor, "batch vocabulary"]) -> Float[Tensor, "batch vocabulary"]:
        """What every token is drawn with, in float64: zero for those left out, and the others sum to one."""
        ordered, token = (logits.double() / self.temperature).sort(dim=-1, descending=True, stable=True)
        if self.top_k is not None:
            ordered[:, self.top_k :] = float("-inf")
        shares = ordered.softmax(dim=-1)
        if self.top_p is not None:
            before = shares.cumsum(dim=-1) - shares
            shares = shares.masked_fill(before >= self.top_p, 0)
        return torch.zeros_like(shares).scatter(-1, token, shares / shares.sum(dim=-1, keepdim=True))


@torch.no_grad()
def generate(
    model: Decoder,
    prompt: Int[Tensor, "batch token"],
    num_tokens: int,
    *,
    strategy: Strategy | None = None,
    generator: torch.Generator | None = None,
    stop_token: int | None = None,
    is_cached: bool = True,
) -> Int[Tensor, "batch all"]:
    """The prompt and `num_tokens` tokens that follow it.

    Args:
        model: Used in evaluation mode, and left as it was.
        prompt: At least one token for every example, all of the same length.
        num_tokens: To append.
        strategy: `Greedy()` if None, or `Sampling(...)`.
        generator: Randomness of a strategy that needs it.
        stop_token: Once an example has got it, all its further tokens are this one; None to never stop.
        is_cached: Whether keys and values are kept; without, all is computed anew for every token.

    Raises:
        ValueError: If the prompt is empty or holds unknown tokens, the sequence would become too long, or a generator
            is missing.
    """
    strategy = Greedy() if strategy is None else strategy
    check(model, prompt, num_tokens, stop_token)
    if strategy.is_random and generator is None:
        raise ValueError(f"{strategy} draws at random: give generator=torch.Generator().manual_seed(...).")
    tokens = prompt
    caches = model.new_caches(prompt.shape[1] + num_tokens) if is_cached and num_tokens else None
    running = torch.ones(len(prompt), dtype=torch.bool, device=prompt.device)
    with evaluating(model):
        for chance in chances(strategy, len(prompt), num_tokens, generator, prompt.device):
            if not running.any():
                break
            new = tokens if caches is None else tokens[:, caches[0].length :]
            logits = model.head(model.states(new, caches=caches)[:, -1])
            chosen = strategy.choose(logits, chance).to(prompt.dtype)
            if stop_token is not None:
                chosen = chosen.where(running, stop_token)
                running = running & (chosen != stop_token)
            tokens = torch.cat([tokens, chosen[:, None]], dim=1)
    missing = prompt.shape[1] + num_tokens - tokens.shape[1]
    return tokens if not missing else nn.functional.pad(tokens, (0, missing), value=stop_token or 0)


def chances(
    strategy: Strategy,
    num_examples: int,
    num_tokens: int,
    generator: torch.Generator | None,
    device: torch.device,
) -> Iterator[Float[Tensor, " batch"]]:
    """Uniform numbers for every token; an example's own come in one stretch, so that others do not shift them."""
    shape = (num_examples, num_tokens)
    if not strategy.is_random or generator is None:
        return iter(torch.zeros(shape, dtype=torch.float64, device=device).unbind(1))
    drawn = torch.rand(shape, dtype=torch.float64, generator=generator, device=generator.device)
    return iter(drawn.to(device).unbind(1))


def check(
    model: Decoder, prompt: Int[Tensor, "batch token"], num_tokens: int, stop_token: int | None
) -> None:
    """Raise unless the model can write on from the prompt, as `generate` says."""
    if num_tokens < 0:
        raise ValueError(f"num_tokens must be 0 or more, but got {num_tokens}.")
    if prompt.shape[1] == 0:
        raise ValueError("prompt must have at least one token for every example, for example a start token.")
    if prompt.numel() and not 0 <= int(prompt.min()) <= int(prompt.max()) < model.num_tokens:
        raise ValueError(
            f"prompt must hold tokens from 0 to {model.num_tokens - 1}, but got {int(prompt.min())} to "
            f"{int(prompt.max())}."
        )
    if stop_token is not None and not 0 <= stop_token < model.num_tokens:
        raise ValueError(f"stop_token must be from 0 to {model.num_tokens - 1}, but got {stop_token}.")
    model.check_length(prompt.shape[1] + num_tokens)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, and every module back in its own mode after."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training
