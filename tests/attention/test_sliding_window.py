"""Sliding windows: the definition in loops, the package people use, and where that package is wrong."""

import pytest
import torch
from tests.oracles import sparse_attention as oracle

from archaeology.attention import SlidingWindow, causal, padding


def tensors(tokens, dim=5, batch=2, heads=3):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch, heads, tokens, dim, generator=generator, dtype=torch.float64) for _ in range(3)
    ]


@pytest.mark.parametrize("kernel", ["auto", "band"])
@pytest.mark.parametrize("tokens", [17, 37])
@pytest.mark.parametrize("radius", [0, 4, 40])
def test_it_is_what_the_paper_says(kernel, tokens, radius):
    inputs = tensors(tokens)
    expected = oracle.attention_to(*inputs, lambda b, h, i: oracle.window(i, tokens, radius))
    torch.testing.assert_close(SlidingWindow(radius=radius, kernel=kernel)(*inputs), expected)


def test_causal_and_padded_windows_are_what_is_left_of_the_window():
    inputs = tensors(29)
    valid = torch.rand(2, 29, generator=torch.Generator().manual_seed(1)) > 0.3
    valid[:, 0] = valid[:, ::3] = True

    def chosen(b, h, i):
        return {j for j in oracle.window(i, 29, 6) if j <= i and valid[b, j]}

    ours = SlidingWindow(radius=6, kernel="band")(*inputs, mask=causal() & padding(valid))
    torch.testing.assert_close(ours, oracle.attention_to(*inputs, chosen))


def package(radius, **options):
    local_attention = pytest.importorskip("local_attention")
    return local_attention.LocalAttention(
        radius, exact_windowsize=True, use_rotary_pos_emb=False, **options
    ).double()


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("is_padded", [False, True])
def test_it_is_the_package_local_attention_where_the_window_divides_the_length(is_causal, is_padded):
    inputs = [tensor.requires_grad_() for tensor in tensors(96)]
    valid = torch.ones(2, 96, dtype=torch.bool)
    if is_padded:
        valid[1, 70:] = False
    mask = causal() & padding(valid) if is_causal else padding(valid)
    ours = SlidingWindow(radius=16)(*inputs, mask=mask)
    theirs = package(16, causal=is_causal)(*inputs, mask=valid)
    real = valid[
        :, None, :, None
    ]  # a padded query far from any key is zeros with us, a mean of padding with them
    torch.testing.assert_close(ours * real, theirs * real)
    upstream = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2)).double() * real
    gradients = [torch.autograd.grad(answer, inputs, upstream) for answer in (ours, theirs)]
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other)


def test_the_package_lets_its_own_padding_take_weight_unless_it_is_given_a_mask():
    inputs = tensors(500, batch=1)
    ours = SlidingWindow(radius=64)(*inputs)
    padded = package(64, autopad=True)
    told = padded(*inputs, mask=torch.ones(1, 500, dtype=torch.bool))
    torch.testing.assert_close(ours, told)
    wrong = (padded(*inputs) - ours).abs().amax(dim=(0, 1, 3))
    assert float(wrong[:436].max()) < 1e-12  # 512 - 64 = 448 is where padding comes into the exact window ...
    assert float(wrong[448:].max()) > 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_long_sequences_take_the_kernel_for_windows_and_agree_with_the_whole_matrix(dtype):
    inputs = [tensor.to(dtype).requires_grad_() for tensor in tensors(613, dim=16, batch=1)]
    answers = [SlidingWindow(radius=37, kernel=kernel)(*inputs) for kernel in ("auto", "fused")]
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    torch.testing.assert_close(*answers, atol=tolerance, rtol=tolerance)
    gradients = [torch.autograd.grad(answer.square().sum(), inputs) for answer in answers]
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, atol=4 * tolerance, rtol=4 * tolerance)


def test_a_negative_radius_is_refused():
    with pytest.raises(ValueError, match=r"must reach 0 or more positions .* but got back=-1"):
        SlidingWindow(radius=-1)


def test_other_keys_than_queries_are_refused():
    query, key, value = tensors(11)
    with pytest.raises(ValueError, match=r"Sliding window supports .* but was asked for cross"):
        SlidingWindow(radius=3)(query[:, :, :7], key, value)
