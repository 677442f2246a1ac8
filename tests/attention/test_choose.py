"""The kernel that is chosen is the one measured as fastest, and nobody sees which it was."""

import pytest
import torch

from archaeology.attention import (
    Alibi,
    BigBird,
    RelativeBias,
    attend,
    band,
    causal,
    fixed,
    global_tokens,
    padding,
    strided,
)
from archaeology.attention.kernels import choose
from archaeology.attention.masks import DenseMask
from archaeology.attention.softmax import posed

VALID = torch.ones(1, 2048, dtype=torch.bool)


def chosen(tokens, mask, *, dtype=torch.float32, requires_grad=False, queries=None, **options):
    query = torch.zeros(1, 2, queries or tokens, 8, dtype=dtype, requires_grad=requires_grad)
    key = torch.zeros(1, 2, tokens, 8, dtype=dtype)
    return choose(posed(query, key, key, mask, **options))


@pytest.mark.parametrize(
    ("mask", "kernel"),
    [
        (None, "fused"),
        (causal(), "fused"),
        (band(64), "band"),
        (band(64) & causal(), "band"),
        (band(64) & padding(VALID), "band"),
        (band(1024), "fused"),  # sees nearly all
        (band(64) | global_tokens(3), "blocks"),
        ((band(64) | global_tokens(3)) & causal() & padding(VALID), "blocks"),
        (fixed(64, 8), "blocks"),
        (strided(64), "blocks"),
        (BigBird(num_heads=2).structure(2048, torch.device("cpu")), "blocks"),
        (padding(VALID), "fused"),
        (torch.ones(2048, 2048, dtype=torch.bool).tril(), "fused"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_structure_decides_first_then_dtype_and_gradient(mask, kernel, dtype, requires_grad):
    if kernel == "fused" and dtype == torch.bfloat16 and requires_grad:
        kernel = "matmul"
    assert chosen(2048, mask, dtype=dtype, requires_grad=requires_grad) == kernel


@pytest.mark.parametrize("mask", [band(4), band(4) | global_tokens(1)])
def test_short_sequences_are_computed_whole(mask):
    assert chosen(128, mask) == "fused"
    assert chosen(128, mask, dtype=torch.bfloat16, requires_grad=True) == "matmul"
    assert chosen(512, band(128)) == "band"


def test_a_single_query_after_a_cache_is_computed_whole():
    assert chosen(2048, band(64), queries=1, query_offset=2047) == "fused"


def test_writing_down_the_pattern_of_long_sequences_is_avoided():
    assert chosen(4097, None, dtype=torch.bfloat16, requires_grad=True, queries=3) == "fused"


@pytest.mark.parametrize("kernel", ["band", "blocks"])
@pytest.mark.parametrize("make", [lambda: Alibi(3), lambda: RelativeBias(3, 9).double()])
def test_a_bias_by_distance_is_told_once_and_learns_from_all_places(kernel, make):
    torch.manual_seed(0)
    inputs = [torch.randn(2, 3, 83, 5, dtype=torch.float64) for _ in range(3)]
    bias = make()
    parameters = list(getattr(bias, "parameters", list)())
    answers = [attend(*inputs, mask=band(7), bias=bias, kernel=name) for name in (kernel, "reference")]
    torch.testing.assert_close(
        *answers, check_dtype=False, atol=1e-6, rtol=1e-6
    )  # ALiBi's slopes are float32
    for parameter in parameters:
        found = [torch.autograd.grad(answer.sin().sum(), parameter)[0] for answer in answers]
        torch.testing.assert_close(*found)


def test_a_mask_that_may_change_is_not_remembered():
    torch.manual_seed(0)
    inputs = [torch.randn(1, 1, 40, 5, dtype=torch.float64) for _ in range(3)]
    matrix = torch.ones(40, 40, dtype=torch.bool).tril()
    for kernel in ("band", "blocks"):
        mask = band(30) & ~as_lasting_as_its(matrix)
        before = attend(*inputs, mask=mask, kernel=kernel)
        matrix[:] = ~matrix
        after = attend(*inputs, mask=mask, kernel=kernel)
        torch.testing.assert_close(after, attend(*inputs, mask=mask, kernel="reference"))
        assert not torch.equal(before, after)


def as_lasting_as_its(matrix):
    return DenseMask(matrix[None, None])


def test_padding_that_changes_counts_at_once():
    torch.manual_seed(0)
    inputs = [torch.randn(1, 1, 40, 5, dtype=torch.float64) for _ in range(3)]
    valid = torch.ones(1, 40, dtype=torch.bool)
    mask = band(3) & padding(valid)
    for kernel in ("band", "blocks"):
        for kept in (40, 20):
            valid[:, kept:] = False
            ours = attend(*inputs, mask=mask, kernel=kernel)
            torch.testing.assert_close(ours, attend(*inputs, mask=mask, kernel="reference"))
        valid[:] = True
