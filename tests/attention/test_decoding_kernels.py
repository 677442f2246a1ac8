"""Decoding: a few queries and many keys get the kernel that is fast for them; a band knows when it forbids nothing."""

import pytest
import torch

from archaeology.attention import attend, band_of, causal
from archaeology.attention.kernels import choose
from archaeology.attention.softmax import posed


def problem(
    queries=1, keys=1024, heads=6, key_heads=6, value_dim=8, dtype=torch.float32, learns=False, **given
):
    query = torch.randn(2, heads, queries, 8).to(dtype).requires_grad_(learns)
    key, value = (
        torch.randn(2, key_heads, keys, 8).to(dtype),
        torch.randn(2, key_heads, keys, value_dim).to(dtype),
    )
    return posed(query, key, value, **given)


@pytest.mark.parametrize(
    ("changes", "kernel"),
    [
        ({}, "fused"),
        ({"dtype": torch.bfloat16}, "fused"),
        ({"value_dim": 5}, "matmul"),
        ({"value_dim": 5, "dtype": torch.bfloat16}, "fused"),
        ({"value_dim": 5, "keys": 1023}, "fused"),
        ({"value_dim": 5, "queries": 64}, "matmul"),
        ({"value_dim": 5, "queries": 65}, "fused"),
        ({"value_dim": 5, "queries": 33, "key_heads": 3}, "fused"),
        ({"value_dim": 5, "learns": True}, "fused"),
        ({"dtype": torch.bfloat16, "keys": 5, "learns": True}, "matmul"),
    ],
)
def test_the_fast_kernel_is_chosen(changes, kernel):
    assert choose(problem(**changes)) == kernel


@pytest.mark.parametrize("key_heads", [6, 2, 1])
@pytest.mark.parametrize("queries", [1, 5, 37])
@pytest.mark.parametrize("mask", [None, causal(), ~band_of(3, 500)])
def test_shared_keys_are_never_repeated_and_the_answer_is_the_definition(queries, key_heads, mask):
    query, key = torch.randn(2, 6, queries, 8).double(), torch.randn(2, key_heads, 1024, 8).double()
    value = torch.randn(2, key_heads, 1024, 5).double()
    given = {"mask": mask, "query_offset": 400}
    ours = attend(query, key, value, kernel="matmul", **given)
    torch.testing.assert_close(ours, attend(query, key, value, kernel="reference", **given))


@pytest.mark.parametrize("back", [0, 3, 6, 7, 8, 100])
@pytest.mark.parametrize("ahead", [0, 1, 4, 100])
@pytest.mark.parametrize(("queries", "offset"), [(1, 0), (1, 7), (3, 0), (3, 5), (8, 0)])
def test_a_band_forbids_nothing_exactly_where_its_matrix_is_full(back, ahead, queries, offset):
    mask = causal() if ahead == 0 and back == 100 else band_of(back, ahead)
    posed_problem = problem(queries=queries, keys=8, mask=mask, query_offset=offset)
    assert posed_problem.allows_all() == bool(posed_problem.dense_mask.all())
