"""What the attention layers of a model do on some examples, in two numbers a head.

How far it is from looking at all keys alike, and how much what it says weighs once it is projected back to the token.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.capture import Attention, intercepted

PROJECTIONS = ("proj", "out_proj", "o_proj", "to_out", "out_lin", "dense")


@dataclass(frozen=True, eq=False)
class AttentionLayer:
    """One attention, on average over examples and queries.

    Attributes:
        module: Its path.
        num_keys: The most keys that a query sees.
        below_uniform: For each head, log(keys seen) minus the entropy of the row, in nats: 0 for uniform attention.
            NaN where every query sees one key only.
        strength: For each head, the length of what it adds to a token: values weighted, times the part of the output
            projection that reads this head.
        is_projected: Whether the output projection was found; else `strength` leaves it out.
    """

    module: str
    num_keys: int
    below_uniform: Float[Tensor, " head"]
    strength: Float[Tensor, " head"]
    is_projected: bool

    @property
    def words(self) -> str:
        """For people: "layer 3" where the path tells, else the path."""
        number = next((int(part) + 1 for part in self.module.split(".") if part.isdigit()), None)
        return self.module if number is None else f"layer {number} ({self.module})"


@torch.no_grad()
def look_at(model: nn.Module, run: Callable[[], object]) -> tuple[AttentionLayer, ...]:
    """What every attention layer does while `run` passes examples through `model`, which is left as it was.

    Attention across channels is left out: its keys are features, and none of them is a place to look at.
    """
    found: list[AttentionLayer] = []
    modules = dict(model.named_modules())
    was_training = model.training

    def see(attention: Attention) -> None:
        if attention.kind == "channel":
            return
        projection = _projection(modules, attention)
        pattern = attention.pattern().float()
        found.append(
            AttentionLayer(
                attention.module.removesuffix(".mechanism"),
                attention.shape[3],
                below_uniform(pattern),
                strength(attention.output.float(), projection),
                projection is not None,
            )
        )

    try:
        model.eval()
        with intercepted(model, see):
            run()
    finally:
        model.train(was_training)
    return tuple(found)


def below_uniform(pattern: Float[Tensor, "batch head query key"]) -> Float[Tensor, " head"]:
    """log(keys with a weight) minus Shannon's entropy of every row, in nats, averaged over rows with two keys or more.

    It is the Kullback-Leibler divergence of the row from the uniform distribution over the keys it sees
    (`shannon1948mathematical`).
    """
    share = pattern / pattern.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(pattern.dtype).tiny)
    seen = (pattern > 0).sum(dim=-1)
    gap = seen.clamp(min=1).log() - torch.special.entr(share).sum(dim=-1)
    return gap.masked_fill(seen < 2, torch.nan).nanmean(dim=(0, 2)).cpu()


def strength(
    output: Float[Tensor, "batch head query dim"], projection: Float[Tensor, "embed features"] | None
) -> Float[Tensor, " head"]:
    """Mean length of what each head adds to a token."""
    if projection is not None:
        of_head = rearrange(projection, "embed (head dim) -> head embed dim", head=output.shape[1])
        output = einsum(output, of_head, "batch head query dim, head embed dim -> batch head query embed")
    return output.norm(dim=-1).mean(dim=(0, 2)).cpu()


def _projection(modules: dict[str, nn.Module], attention: Attention) -> Tensor | None:
    """Weight of the linear layer that mixes the heads, beside the attention or one module further out."""
    features = attention.shape[1] * attention.output.shape[3]
    parts = attention.module.split(".")
    for depth in range(len(parts), max(len(parts) - 3, -1), -1):
        around = ".".join(parts[:depth])
        for name in PROJECTIONS:
            module = modules.get(f"{around}.{name}".lstrip("."))
            linear = module[0] if isinstance(module, nn.Sequential) and len(module) else module
            if isinstance(linear, nn.Linear) and linear.in_features == features:
                return linear.weight.float()
    return None
