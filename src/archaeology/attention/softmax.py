"""Every query mixes the values, weighted by how well its key matches: `softmax(Q K^T / sqrt(dim)) V`.

`vaswani2017attention`, equation 1. Differs: masks are claims about absolute positions (`archaeology.attention.masks`),
and the kernel is chosen by structure, device and dtype, while the result stays the same.
"""

from jaxtyping import Float, Int
from torch import Tensor

from archaeology.attention.biases import Bias, DenseBias, as_bias
from archaeology.attention.kernels import Problem, choose, kernels
from archaeology.attention.kernels.reference import pattern as reference_pattern
from archaeology.attention.masks import DenseMask, Mask, as_mask, both, valid_tokens, wiped
from archaeology.attention.mechanism import Facts, Mechanism, check_shapes, mechanisms


def attend(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch key_head key dim"],
    value: Float[Tensor, "batch key_head key value_dim"],
    *,
    mask: Mask | Tensor | None = None,
    bias: Bias | Tensor | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    query_offset: int = 0,
    kernel: str = "auto",
) -> Float[Tensor, "batch head query value_dim"]:
    """Scaled dot-product attention.

    Args:
        query: What looks, one row for each token and head.
        key: What is looked at. Fewer heads than queries have are shared by groups of neighbouring query heads.
        value: What is averaged, with as many heads as the keys.
        mask: Who may look at whom, True where it may; a boolean tensor is (query, key) or (batch, head, query,
            key). A query that may look nowhere gets zeros.
        bias: Numbers added to the scaled scores: a floating tensor shaped as a mask, or a `Bias`.
        scale: What scores are multiplied by; `dim ** -0.5` if None.
        dropout: Share of the weights set to zero after the softmax, in [0, 1]; the others grow to make up for it.
        query_offset: Absolute position of the first query, where keys before it come from a cache or an earlier
            chunk; the first key is at 0.
        kernel: "auto", or one of `kernels`; "reference" is the definition, the oracle of the others.

    Raises:
        ValueError: If shapes do not fit, or a kernel is unknown or cannot do it.
        TypeError: If a mask is not boolean or a bias is.
    """
    problem = posed(query, key, value, mask, bias, scale, dropout, query_offset)
    if problem.key.shape[2] == 0 or problem.query.shape[2] == 0:
        return query.new_zeros(*query.shape[:3], value.shape[3]) + 0 * query.sum()
    return kernels.get(choose(problem) if kernel == "auto" else kernel)(problem)


def posed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Mask | Tensor | None = None,
    bias: Bias | Tensor | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    query_offset: int = 0,
) -> Problem:
    """The problem that the arguments of `attend` pose, checked; what padding holds is wiped out."""
    check_shapes(query, key, value)
    if not 0 <= dropout <= 1:
        raise ValueError(f"dropout must be a share in [0, 1], but got {dropout}.")
    if query_offset < 0:
        raise ValueError(f"query_offset must be 0 or more, but got {query_offset}.")
    claim, numbers = as_mask(mask, query_offset), as_bias(bias, query_offset)
    expected = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    _check_matrix("mask", claim, expected)
    _check_matrix("bias", numbers, expected)
    key, value = wiped(key, value, valid_tokens(claim, key))
    factor = float(query.shape[3]) ** -0.5 if scale is None else scale
    return Problem(query, key, value, claim, numbers, factor, dropout, query_offset)


def _check_matrix(name: str, given: Mask | Bias | None, expected: tuple[int, ...]) -> None:
    """Raise unless a mask or bias that is a matrix has the expected shape, or 1 for batch or head."""
    if not isinstance(given, DenseMask | DenseBias):
        return
    shape = tuple(given.matrix.shape)
    if shape[2:] != expected[2:] or any(
        size not in (1, full) for size, full in zip(shape, expected, strict=True)
    ):
        raise ValueError(
            f"{name} must be (batch, head, query, key) = {expected}, with 1 for a batch or head that all "
            f"share, but got {shape}."
        )


@mechanisms.register("softmax")
class Softmax(Mechanism):
    """Exact attention of every token to every token, or to those that a mask leaves."""

    supports = frozenset({"causal", "padding", "mask", "bias", "cross", "grouped", "cache"})
    facts = Facts(
        title="Softmax attention",
        formula="softmax(QK^T / sqrt(d)) V",
        time="N^2 d",
        memory="N d (fused), N^2 (pattern)",
        relation="exact",
        source="vaswani2017attention",
    )

    def __init__(self, *, scale: float | None = None, dropout: float = 0.0, kernel: str = "auto") -> None:
        """`scale` multiplies the scores (`dim ** -0.5`), `dropout` drops weights in training."""
        super().__init__()
        self.scale, self.dropout, self.kernel = scale, dropout, kernel

    def mix(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        mask: Mask | None,
        bias: Bias | None,
        query_offset: int,
    ) -> Tensor:
        """Attend to what both the structure and the caller's mask allow."""
        return attend(
            query,
            key,
            value,
            mask=self.joint(mask, key),
            bias=bias,
            scale=self.scale,
            dropout=self.dropout if self.training else 0.0,
            query_offset=query_offset,
            kernel=self.kernel,
        )

    def joint(self, mask: Mask | None, key: Tensor) -> Mask | None:
        """The structure and the caller's mask together."""
        return both(self.structure(key.shape[2], key.device), mask)

    def rows_of_pattern(
        self,
        query: Tensor,
        key: Tensor,
        *,
        mask: Mask | None,
        bias: Bias | None,
        query_offset: int,
        rows: Int[Tensor, " row"],
        heads: Int[Tensor, " asked"],
    ) -> Float[Tensor, "batch asked row key"]:
        """Only what is asked for is computed."""
        problem = posed(query, key, key, self.joint(mask, key), bias, self.scale, query_offset=query_offset)
        return reference_pattern(problem.only(rows, heads))
