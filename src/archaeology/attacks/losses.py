"""What an attack raises: small where the model is right and sure, larger the nearer it is to being wrong.

Cross-entropy saturates where the model is very sure, and its gradient vanishes. The difference of logits does not; the
difference-of-logits ratio (DLR, `croce2020reliable`) is moreover the same for logits multiplied by any number.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from archaeology.core.shapes import Label, Logits

PerImage = Float[Tensor, " batch"]


def cross_entropy(logits: Logits, labels: Label) -> PerImage:
    """-log of the probability of the label."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Logits, labels: Label) -> PerImage:
    """Largest logit of another class less the label's: above zero where the model is wrong."""
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(dim=1) - own


def difference_of_logits_ratio(logits: Logits, labels: Label) -> PerImage:
    """The margin over the distance from the largest to the third largest logit; with two classes, the margin.

    References:
        `croce2020reliable`, equation 6.
    """
    if logits.shape[1] < 3:
        return margin(logits, labels)
    top = logits.topk(3, dim=1).values
    return margin(logits, labels) / (top[:, 0] - top[:, 2]).clamp(min=1e-12)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "dlr": difference_of_logits_ratio,
    "margin": margin,
}
