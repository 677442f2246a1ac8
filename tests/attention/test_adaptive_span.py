"""Adaptive spans against the paper's formula in loops: multiply by the soft mask, then normalise."""

import math

import pytest
import torch

from archaeology.attention import AdaptiveSpan, MultiHeadAttention, causal, padding
from archaeology.attention.adaptive_span import soft_mask
from archaeology.attention.mechanism import LayerShape

SPANS = (0.0, 2.3, 6.9)
RAMP = 3.0


def mechanism_with(spans, *, ramp=RAMP, max_span=13, **options):
    mechanism = AdaptiveSpan(len(spans), max_span=max_span, ramp=ramp, **options).double()
    with torch.no_grad():
        mechanism.share.copy_(torch.tensor(spans) / max_span)
    return mechanism


def looped(query, key, value, spans, ramp, *, is_causal, bias=None, valid=None):
    """Equations 5 and 6 of `sukhbaatar2019adaptive`; the distance counts to both sides unless causal."""
    answer = torch.zeros(*query.shape[:3], value.shape[3], dtype=torch.float64)
    batch, heads, tokens, dim = query.shape
    for b in range(batch):
        for h in range(heads):
            for t in range(tokens):
                weights = {}
                for r in range(tokens):
                    if (is_causal and r > t) or (valid is not None and not valid[b, r]):
                        continue
                    soft = min(max((ramp + spans[h] - abs(t - r)) / ramp, 0), 1)
                    score = float(query[b, h, t] @ key[b, h, r]) / math.sqrt(dim)
                    score += 0.0 if bias is None else float(bias[t, r])
                    weights[r] = soft * math.exp(score)
                total = sum(weights.values())
                for r, weight in weights.items():
                    answer[b, h, t] += (weight / total if total else 0) * value[b, h, r]
    return answer


def tensors(tokens=17):
    torch.manual_seed(0)
    return [torch.randn(2, 3, tokens, dim, dtype=torch.float64) for dim in (5, 5, 7)]


@pytest.mark.parametrize("kernel", ["auto", "reference", "band", "matmul", "fused"])
@pytest.mark.parametrize("is_causal", [False, True])
def test_multiplying_weights_and_normalising_again_is_what_the_bias_does(kernel, is_causal):
    query, key, value = tensors()
    mechanism = mechanism_with(SPANS, kernel=kernel)
    expected = looped(query, key, value, SPANS, RAMP, is_causal=is_causal)
    found = mechanism(query, key, value, mask=causal() if is_causal else None)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kernel", ["reference", "band", "matmul", "fused"])
def test_bias_and_padding_come_on_top_and_a_span_of_padding_alone_gives_zeros(kernel):
    query, key, value = tensors()
    bias, valid = torch.randn(17, 17, dtype=torch.float64), torch.ones(2, 17, dtype=torch.bool)
    valid[1, 4:12] = False
    expected = looped(query, key, value, SPANS, RAMP, is_causal=False, bias=bias, valid=valid)
    assert float(expected[1, 0, 7].abs().max()) == 0  # head 0 looks 2 tokens far
    mechanism = mechanism_with(SPANS, kernel=kernel)
    for tensor in (query, key, value):
        tensor.requires_grad_()
    found = mechanism(query, key, value, mask=padding(valid), bias=bias)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert all(bool(each.grad.isfinite().all()) for each in (query, key, value, mechanism.share))


@pytest.mark.parametrize("kernel", ["reference", "band", "matmul", "fused"])
def test_spans_get_the_gradient_of_finite_differences(kernel):
    query, key, value = tensors(11)
    mechanism = mechanism_with(SPANS, kernel=kernel)

    def answer(share):
        return torch.func.functional_call(mechanism, {"share": share}, (query, key, value))

    share = torch.tensor([0.013, 0.23, 0.71], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(answer, share, fast_mode=True)


def test_soft_mask_is_one_up_to_the_span_and_zero_after_the_ramp():
    distance = torch.arange(8)
    found = soft_mask(distance, torch.tensor(2.0), 4.0)
    torch.testing.assert_close(found, torch.tensor([1, 1, 1, 0.75, 0.5, 0.25, 0, 0]))


def test_structure_reaches_as_far_as_the_farthest_head_and_long_sequences_take_the_band_kernel():
    mechanism = mechanism_with(SPANS)
    assert 9 <= mechanism.structure(100, torch.device("cpu")).reach().back <= 10
    query, key, value = tensors(1009)
    torch.testing.assert_close(
        mechanism(query, key, value), mechanism_with(SPANS, kernel="reference")(query, key, value)
    )


def test_pattern_is_zero_beyond_each_head_s_own_span():
    query, key, _ = tensors()
    pattern = mechanism_with(SPANS).pattern(query, key)
    distance = (torch.arange(17)[:, None] - torch.arange(17)).abs()
    for head, span in enumerate(SPANS):
        assert torch.equal(pattern[1, head] > 0, distance < span + RAMP)
    torch.testing.assert_close(pattern.sum(-1), torch.ones(2, 3, 17, dtype=torch.float64))


def test_penalty_is_the_mean_span_and_training_on_it_alone_stops_at_zero_and_can_come_back():
    mechanism = mechanism_with(SPANS)
    torch.testing.assert_close(mechanism.penalty(), torch.tensor(sum(SPANS) / 3, dtype=torch.float64))
    optimizer = torch.optim.SGD(mechanism.parameters(), lr=0.05)
    for _ in range(15):
        optimizer.zero_grad()
        mechanism.penalty().backward()
        optimizer.step()
    assert mechanism.spans().tolist() == [0, 0, 0] and float(mechanism.share.detach().min()) > -0.5
    for _ in range(15):
        optimizer.zero_grad()
        (-mechanism.penalty()).backward()
        optimizer.step()
    assert mechanism.spans().tolist() == [13, 13, 13]


def test_a_head_that_must_look_back_learns_a_longer_span():
    torch.manual_seed(0)
    mechanism = AdaptiveSpan(2, max_span=20, ramp=4.0, initial_span=1.0)
    optimizer = torch.optim.Adam(mechanism.parameters(), lr=0.02)
    query = torch.zeros(1, 2, 24, 3)
    value = torch.randn(8, 1, 24, 3).repeat(1, 2, 1, 1)
    for _ in range(60):
        optimizer.zero_grad()
        answer = mechanism(query.expand(8, -1, -1, -1), query.expand(8, -1, -1, -1), value, mask=causal())
        target = value.cumsum(2) / torch.arange(1, 25)[:, None]  # the mean of all that came before
        loss = (answer - target)[:, 0].square().mean() + 0.01 * mechanism.penalty()
        loss.backward()
        optimizer.step()
    spans = mechanism.spans().tolist()
    assert spans[0] > 5 > 0.5 > spans[1], spans


def test_a_layer_knows_the_most_it_needs_to_span():
    layer = MultiHeadAttention(12, 3, mechanism="adaptive_span", num_tokens=19, options={"ramp": 2.0})
    assert layer.mechanism.max_span == 19 and len(layer.mechanism.share) == 3
    shape = LayerShape(num_heads=3, head_dim=4, num_tokens=19)
    assert AdaptiveSpan.build(shape, max_span=5).max_span == 5


def test_bad_sizes_are_refused():
    with pytest.raises(
        ValueError, match=r"0 <= initial_span <= max_span, but got .*max_span=4.*initial_span=5"
    ):
        AdaptiveSpan(3, max_span=4, initial_span=5.0)
    with pytest.raises(ValueError, match="spans were made for 2 heads, but got 3"):
        AdaptiveSpan(2).double()(*tensors())
    with pytest.raises(ValueError, match="asked for cross"):
        query, key, value = tensors()
        mechanism_with(SPANS)(query[:, :, :5], key, value)
