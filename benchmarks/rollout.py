"""Rollout as one pushed row, against the chain of matrix products that the paper's authors wrote, both batched.

Theirs, for every layer: the mean over heads, plus the identity, rows divided by their sums, times the product so far;
at the end the class token's row is read. Both get the same patterns, which take most of the memory, so the longer
sequence is one image. Everything in float32; compared in float64 first.
"""

import sys
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from archaeology.explain.rollout import rolled_row
from benchmarks._side_by_side import comparison, report, seconds, setting

HEADS, LAYERS = 12, 12


def chain_of_products(patterns: Sequence[Tensor]) -> Tensor:
    """The class token's row of the product of all mixing matrices."""
    identity = torch.eye(patterns[0].shape[-1], dtype=patterns[0].dtype)
    product = None
    for pattern in patterns:
        mixed = pattern.mean(1) + identity
        mixed = mixed / mixed.sum(-1, keepdim=True)
        product = mixed if product is None else mixed @ product
    assert product is not None
    return product[:, 0]


def pushed_row(patterns: Sequence[Tensor]) -> Tensor:
    start = torch.zeros(len(patterns[0]), patterns[0].shape[-1], dtype=patterns[0].dtype)
    start[:, 0] = 1
    return rolled_row(patterns, start)


def main() -> None:
    given = setting(__doc__)
    layers = 2 if given.small else LAYERS
    lines = []
    for tokens, batch, target in ((197, 8, 3.0), (785, 1, 8.0)):
        patterns = [torch.randn(batch, HEADS, tokens, tokens).mul_(2).softmax(-1) for _ in range(layers)]
        exact = [pattern.double() for pattern in patterns[:2]]
        torch.testing.assert_close(pushed_row(exact), chain_of_products(exact), rtol=0, atol=1e-9)
        torch.testing.assert_close(pushed_row(patterns), chain_of_products(patterns), rtol=1e-4, atol=1e-7)
        ours, theirs = seconds(
            given, partial(pushed_row, patterns), partial(chain_of_products, patterns), rounds=15
        )
        case = f"rollout, {tokens} tokens, {HEADS} heads, {layers} layers, per image"
        lines.append(
            comparison(
                case, "torch", ours=ours / batch * 1e3, theirs=theirs / batch * 1e3, unit="ms", target=target
            )
        )
    report("rollout", given, lines)


if __name__ == "__main__":
    sys.exit(main())
