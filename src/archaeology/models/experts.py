"""A mixture of experts: many small MLPs, of which every token visits a few, so that knowing more costs no more time.

`shazeer2017outrageously`; the layer of `jiang2024mixtral`, with shared experts as in `liu2024technical`. Tokens are
sorted by expert, so that one grouped product serves all experts and none works on a token that is not its own.
Differs: where experts have a capacity, it is per example and earlier tokens come first (`lepikhin2021gshard` lets all
first choices go before all second ones, which tells a token of later ones), and it holds in training only.
"""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from archaeology.models.gated import GatedMLP, gated
from archaeology.models.router import Router, Routing

GROUPED_DTYPES = {
    "cpu": (torch.float32, torch.bfloat16, torch.float16),
    "cuda": (torch.bfloat16,),
}


class Experts(nn.Module):
    """Gated MLPs of the same size, their weights side by side."""

    def __init__(self, num_experts: int, embed_dim: int, hidden_dim: int) -> None:
        """Build with fresh weights, as `nn.Linear` draws them."""
        super().__init__()
        self.gate_up = nn.Parameter(torch.empty(num_experts, 2 * hidden_dim, embed_dim))
        self.down = nn.Parameter(torch.empty(num_experts, embed_dim, hidden_dim))
        for weight in (self.gate_up, self.down):
            nn.init.uniform_(weight, -(weight.shape[2] ** -0.5), weight.shape[2] ** -0.5)

    def forward(
        self, tokens: Float[Tensor, "visit embed"], counts: Int[Tensor, " expert"]
    ) -> Float[Tensor, "visit embed"]:
        """Every expert's answer to its tokens.

        Args:
            tokens: Sorted by expert.
            counts: How many tokens each expert has.
        """
        return grouped_product(gated(grouped_product(tokens, self.gate_up, counts)), self.down, counts)


def grouped_product(
    rows: Float[Tensor, "visit feature"],
    weights: Float[Tensor, "expert out feature"],
    counts: Int[Tensor, " expert"],
) -> Float[Tensor, "visit out"]:
    """Rows, sorted by expert, each times the weights of its own expert.

    `F.grouped_mm` wants rows of 16 bytes or a multiple; elsewhere the experts take turns.
    """
    is_aligned = all(size * rows.element_size() % 16 == 0 for size in weights.shape[1:])
    if is_aligned and rows.dtype in GROUPED_DTYPES.get(rows.device.type, ()):
        ends = counts.cumsum(0).to(torch.int32)
        return F.grouped_mm(rows.contiguous(), weights.transpose(1, 2), offs=ends)
    parts = rows.split(counts.tolist())
    return torch.cat([part @ weight.T for part, weight in zip(parts, weights, strict=True)])


class MixtureOfExperts(nn.Module):
    """Every token is sent to a few experts, and their answers are averaged by how well they scored."""

    def __init__(
        self,
        embed_dim: int,
        hidden_dim: int,
        *,
        num_experts: int = 8,
        num_chosen: int = 2,
        num_shared: int = 0,
        capacity_factor: float | None = None,
        scoring: str = "softmax",
        num_groups: int = 1,
        num_chosen_groups: int = 1,
        scale: float = 1.0,
    ) -> None:
        """Build with fresh weights.

        Args:
            embed_dim: Features of a token.
            hidden_dim: Hidden features of one expert.
            num_experts: To choose from.
            num_chosen: Experts of each token.
            num_shared: Experts that all tokens visit, besides.
            capacity_factor: In training, an expert takes so many times its fair share of an example's tokens, and
                drops those that come later; None to drop none.
            scoring: As in `Router`, likewise the rest.
            num_groups: Equal groups of experts.
            num_chosen_groups: Groups that a token may choose from.
            scale: What the weights of a token sum to.

        Raises:
            ValueError: If the numbers do not fit together.
        """
        super().__init__()
        if capacity_factor is not None and capacity_factor <= 0:
            raise ValueError(
                f"capacity_factor must be above 0, or None for no limit, but got {capacity_factor}."
            )
        self.capacity_factor = capacity_factor
        self.router = Router(
            embed_dim,
            num_experts,
            num_chosen,
            scoring=scoring,
            num_groups=num_groups,
            num_chosen_groups=num_chosen_groups,
            scale=scale,
        )
        self.experts = Experts(num_experts, embed_dim, hidden_dim)
        self.shared = GatedMLP(embed_dim, num_shared * hidden_dim) if num_shared else None

    def forward(
        self,
        tokens: Float[Tensor, "batch token embed"],
        *,
        valid: Bool[Tensor, "batch token"] | None = None,
        routings: list[Routing] | None = None,
    ) -> Float[Tensor, "batch token embed"]:
        """What the experts answer; a token that is padding, or was dropped by all, gets zeros from them.

        Args:
            tokens: What is sent.
            valid: False where a token is padding; it visits no expert and takes nobody's place.
            routings: Takes up where the tokens went, for the loss and for balancing.
        """
        if valid is not None:  # zero times what padding holds could be NaN, and so could its gradient
            tokens = tokens.masked_fill(~valid[..., None], 0)
        routing = self.router(tokens, valid)
        kept = self.kept(routing)
        num_meant = routing.chosen.numel() if valid is None else int(valid.sum()) * routing.chosen.shape[2]
        num_kept = routing.chosen.numel() if kept is None else int(kept.sum())
        if routings is not None:
            routings.append(replace(routing, num_dropped=num_meant - num_kept))
        answer = self.visit(tokens.flatten(0, 1), routing, kept, num_kept).reshape(tokens.shape)
        return answer if self.shared is None else answer + self.shared(tokens)

    def kept(self, routing: Routing) -> Bool[Tensor, "batch token choice"] | None:
        """Which visits take place: not those of padding, nor those beyond the capacity; None if all do."""
        valid = None if routing.valid is None else routing.valid[..., None].expand_as(routing.chosen)
        if self.capacity_factor is None or not self.training:
            return valid
        fair = routing.chosen.shape[1] * self.router.num_chosen / self.router.num_experts
        within = places(routing.chosen, self.router.num_experts, valid) < math.ceil(
            self.capacity_factor * fair
        )
        return within if valid is None else within & valid

    def visit(
        self,
        tokens: Float[Tensor, "token embed"],
        routing: Routing,
        kept: Bool[Tensor, "batch sequence choice"] | None,
        num_kept: int,
    ) -> Float[Tensor, "token embed"]:
        """Sort visits by expert, let every expert answer, and bring the answers back."""
        num_experts, num_chosen = self.router.num_experts, self.router.num_chosen
        if num_kept == 0:
            return torch.zeros_like(tokens) + 0 * routing.weights.sum().to(tokens.dtype)
        expert, weights = routing.chosen.flatten(), routing.weights.flatten().to(tokens.dtype)
        if kept is not None:  # those that do not take place are sorted behind the last expert
            expert, weights = expert.where(kept.flatten(), num_experts), weights * kept.flatten()
        order = expert.argsort(stable=True)
        counts = expert.bincount(minlength=num_experts)[:num_experts]
        visits = F.embedding(order[:num_kept] // num_chosen, tokens)
        answers = self.experts(visits, counts)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        place = place.clamp(max=num_kept - 1)  # a visit that does not take place reads any answer, times zero
        shape = (len(tokens), num_chosen)
        weights = weights.reshape(shape)
        return F.embedding_bag(place.reshape(shape), answers, per_sample_weights=weights, mode="sum")


def places(
    chosen: Int[Tensor, "batch token choice"],
    num_experts: int,
    counted: Bool[Tensor, "batch token choice"] | None,
) -> Int[Tensor, "batch token choice"]:
    """How many visits of earlier tokens of the same example, and better choices of this one, go to the same expert."""
    visits = F.one_hot(chosen.flatten(1), num_experts)
    if counted is not None:
        visits = visits * counted.flatten(1)[..., None]
    before = visits.cumsum(dim=1) - visits
    return before.gather(2, chosen.flatten(1)[..., None]).reshape(chosen.shape)
