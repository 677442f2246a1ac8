"""How far a mechanism's answer is from that of exact softmax attention, on inputs that say so."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from archaeology.attention import mechanisms
from archaeology.attention.mechanism import Mechanism
from archaeology.core.seeding import derived_seed
from archaeology.zoo.config import ZooConfig
from archaeology.zoo.inputs import InputKind, Sample, sample
from archaeology.zoo.measurements import Measurement, error_row
from archaeology.zoo.subject import built, in_dtype

LONGEST = 4096  # tokens up to which errors are measured; exact attention in float64 takes too long beyond
MEAN = "mean of values"  # what attention is worth that looks at all tokens alike
COMPARABLE = ("exact", "sparse", "approximate")


def comparable(names: Sequence[str]) -> list[str]:
    """The mechanisms that mean to be softmax attention, or a part of it; the yardstick of the mean comes first."""
    return [MEAN, *(name for name in names if mechanisms.get(name).facts.relation in COMPARABLE)]


def lengths_for_errors(config: ZooConfig) -> list[int]:
    """Lengths up to `LONGEST`; the shortest if all are longer."""
    return [length for length in config.lengths if length <= LONGEST] or [config.lengths[0]]


def errors(
    names: Sequence[str], length: int, kind: InputKind, score_std: float, draw: int, config: ZooConfig
) -> Iterator[Measurement]:
    """Relative errors of every head on one input, all mechanisms against the same exact answer."""
    seed = derived_seed(config.seed, "error", draw)
    given = sample(kind, length, config.heads, config.head_dim, score_std=score_std, seed=seed)
    plain = softmax_attention(given)
    for name in names:
        if name == MEAN:
            answer, exact = given.value.mean(dim=2, keepdim=True).expand_as(plain), plain
        else:
            mechanism = built(name, length, config, draw).eval()
            answer = _answer(mechanism, given, config.dtype)
            has_other_scores = mechanism.shares_query_and_key or type(mechanism).exact is not Mechanism.exact
            exact = _exact(mechanism, given) if has_other_scores else plain
        for head, error in enumerate(relative_error(answer, exact).tolist()):
            yield error_row(name, length, kind, score_std, draw, head, error)


@torch.no_grad()
def softmax_attention(given: Sample) -> Tensor:
    """The exact answer to almost all: over all tokens, in float64, computed once."""
    return F.scaled_dot_product_attention(given.query.double(), given.key.double(), given.value.double())


@torch.no_grad()
def _exact(mechanism: Mechanism, given: Sample) -> Tensor:
    """The exact answer to a mechanism whose scores are others."""
    key = given.query if mechanism.shares_query_and_key else given.key
    return mechanism.exact(given.query.double(), key.double(), given.value.double())


@torch.no_grad()
def _answer(mechanism: Mechanism, given: Sample, dtype: str) -> Tensor:
    cast = in_dtype(given, dtype)
    return mechanism(cast.query, cast.query if mechanism.shares_query_and_key else cast.key, cast.value)


def relative_error(
    answer: Float[Tensor, "batch head token dim"], exact: Float[Tensor, "batch head token dim"]
) -> Float[Tensor, " head"]:
    """Length of the difference over length of the exact answer, for each head."""
    difference = (answer.double() - exact).square().sum(dim=(0, 2, 3))
    return (difference / exact.square().sum(dim=(0, 2, 3))).sqrt()
