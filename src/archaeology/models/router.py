"""A router sends every token to the few experts that it scores highest, and is taught not to send all to the same.

Softmax scores as in `jiang2024mixtral` (softmax over all, the highest kept and made to sum to one), or sigmoid scores
with groups of experts as in `liu2024technical`. Two ways to balance: a loss (`fedus2022switch`, equations 4 to 6) or a
bias that changes who is chosen and not how much they count (`wang2024auxiliary`). Differs: the loss is one layer's own
(pooling layers, as some code does, calls two layers balanced that each use half of the experts), it is 1 at balance
for any number of chosen experts, and padding counts nowhere.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

SCORINGS = ("softmax", "sigmoid")


@dataclass(frozen=True, eq=False)
class Routing:
    """Where one layer sent the tokens of one pass.

    Attributes:
        chosen: Experts of every token, the highest score first.
        weights: How much each of them counts.
        scores: Of all experts, in [0, 1]; these carry the gradient of the loss.
        valid: False where a token is padding, which goes nowhere and counts nowhere; None if there is none.
        num_dropped: How often a token did not reach an expert because it was full.
    """

    chosen: Int[Tensor, "batch token choice"]
    weights: Float[Tensor, "batch token choice"]
    scores: Float[Tensor, "batch token expert"]
    valid: Bool[Tensor, "batch token"] | None = None
    num_dropped: int = 0

    @property
    def load(self) -> Float[Tensor, " expert"]:
        """Share of the choices that fell on each expert, before any were dropped; sums to one."""
        chosen = self.chosen if self.valid is None else self.chosen[self.valid]
        counts = chosen.flatten().bincount(minlength=self.scores.shape[-1]).to(self.scores.dtype)
        return counts / counts.sum().clamp(min=1)


def load_balancing_loss(routing: Routing) -> Float[Tensor, ""]:
    """Number of experts times the sum over experts of share of choices times mean score: 1 at balance, more otherwise.

    The share is a count and has no gradient; the mean score carries it. Sigmoid scores are first made to sum to one.
    """
    scores = routing.scores / routing.scores.sum(dim=-1, keepdim=True).clamp(min=1e-20)
    scores = scores.flatten(0, 1) if routing.valid is None else scores[routing.valid]
    return scores.shape[-1] * (routing.load * scores.sum(dim=0) / max(1, len(scores))).sum()


class Router(nn.Module):
    """Scores every expert for every token and keeps the highest few.

    Attributes:
        bias: Added to the scores for choosing alone; changed by `balance`, not by a gradient.
    """

    bias: Tensor

    def __init__(
        self,
        embed_dim: int,
        num_experts: int,
        num_chosen: int,
        *,
        scoring: str = "softmax",
        num_groups: int = 1,
        num_chosen_groups: int = 1,
        scale: float = 1.0,
    ) -> None:
        """Build with fresh weights.

        Args:
            embed_dim: Features of a token.
            num_experts: To choose from.
            num_chosen: Experts of each token.
            scoring: "softmax", or "sigmoid", where experts do not compete for score.
            num_groups: Equal groups of neighbouring experts, for example those on one device.
            num_chosen_groups: Groups that a token may choose from: those with the highest two experts together.
            scale: What the weights of a token sum to.

        Raises:
            ValueError: If the numbers do not fit together or `scoring` is unknown.
        """
        super().__init__()
        if scoring not in SCORINGS:
            raise ValueError(f"scoring must be one of {', '.join(SCORINGS)}, but got {scoring!r}.")
        if num_groups < 1 or num_experts % num_groups or not 1 <= num_chosen_groups <= num_groups:
            raise ValueError(
                "num_groups must divide num_experts, and num_chosen_groups be among them, but got "
                f"{num_experts=}, {num_groups=}, {num_chosen_groups=}."
            )
        available = num_experts // num_groups * num_chosen_groups
        if not 1 <= num_chosen <= available:
            raise ValueError(
                f"num_chosen must be 1 to {available}, the experts in the chosen groups, but got {num_chosen}."
            )
        self.num_experts, self.num_chosen, self.scoring, self.scale = num_experts, num_chosen, scoring, scale
        self.num_groups, self.num_chosen_groups = num_groups, num_chosen_groups
        self.weight = nn.Parameter(torch.empty(num_experts, embed_dim))
        nn.init.normal_(self.weight, std=embed_dim**-0.5)
        self.register_buffer("bias", torch.zeros(num_experts))

    def forward(
        self, tokens: Float[Tensor, "batch token embed"], valid: Bool[Tensor, "batch token"] | None = None
    ) -> Routing:
        """Where every token goes, scored in float32 at least."""
        exact = torch.promote_types(tokens.dtype, torch.float32)
        logits = tokens.to(exact) @ self.weight.to(exact).T
        scores = logits.softmax(dim=-1) if self.scoring == "softmax" else logits.sigmoid()
        chosen = self.choose(scores.detach())
        weights = scores.gather(-1, chosen)
        weights = self.scale * weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
        return Routing(chosen, weights, scores, valid)

    def choose(self, scores: Float[Tensor, "batch token expert"]) -> Int[Tensor, "batch token choice"]:
        """The experts with the highest score plus bias, in the best groups."""
        biased = scores + self.bias.to(scores.dtype)
        if self.num_chosen_groups < self.num_groups:
            groups = biased.unflatten(-1, (self.num_groups, -1))
            best = groups.topk(min(2, groups.shape[-1]), dim=-1).values.sum(dim=-1)
            kept = best.topk(self.num_chosen_groups, dim=-1).indices
            open_groups = torch.zeros_like(best, dtype=torch.bool).scatter(-1, kept, True)
            biased = groups.masked_fill(~open_groups[..., None], float("-inf")).flatten(-2)
        return biased.topk(self.num_chosen, dim=-1).indices

    @torch.no_grad()
    def balance(self, load: Float[Tensor, " expert"], *, rate: float = 1e-3) -> None:
        """After a training step, make experts below the mean load likelier to be chosen, and the others less.

        Args:
            load: Share of the choices of every expert, for example `Routing.load`.
            rate: How much the bias of each changes; scores are in [0, 1].
        """
        self.bias += rate * torch.sign(load.mean() - load).to(self.bias)
