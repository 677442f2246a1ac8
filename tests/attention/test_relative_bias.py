"""Biases by distance, learned and fixed, against loops, Bloom's slopes and the tables of two Swin implementations."""

import math

import pytest
import torch

from archaeology.attention import Alibi, GridBias, MultiHeadAttention, RelativeBias, attend, causal
from archaeology.attention.alibi import GridAlibi, slopes
from archaeology.attention.biases import Sum, looked_up
from archaeology.attention.relative_bias import resized_grid_table


def dense(bias, num_heads, num_tokens):
    """All scores, as a kernel asks for them."""
    head, token = torch.arange(num_heads)[:, None, None], torch.arange(num_tokens)
    return bias.scores(torch.zeros(1, 1, 1, 1, dtype=torch.long), head, token[:, None], token)


def test_relative_bias_is_a_number_per_head_and_distance_and_far_is_far():
    bias = RelativeBias(3, 4)
    found = dense(bias, 3, 11)
    for h in range(3):
        for q in range(11):
            for k in range(11):
                assert found[h, q, k] == bias.table[h, 4 + max(-4, min(4, q - k))]


def test_grid_bias_is_a_number_per_head_and_difference_of_rows_and_columns():
    bias = GridBias(2, (3, 5), num_prefix=1)
    with torch.no_grad():
        bias.table.copy_(torch.arange(90.0).reshape(2, 45))
    found = dense(bias, 2, 16)
    for h in range(2):
        for q in range(16):
            for k in range(16):
                if q == 0 or k == 0:
                    assert found[h, q, k] == 0
                    continue
                (up, left), (down, right) = divmod(q - 1, 5), divmod(k - 1, 5)
                assert found[h, q, k] == 45 * h + (up - down + 2) * 9 + left - right + 4


def test_slopes_halve_and_those_between_are_taken_where_heads_are_no_power_of_two():
    assert slopes(8) == [2.0**-i for i in range(1, 9)]
    assert slopes(3) == [2.0**-4, 2.0**-8, 2.0**-2]
    found = dense(Alibi(3), 3, 7)
    assert torch.equal(found, found.mT) and float(found[1, 2, 6]) == -4 * slopes(3)[1]


@pytest.mark.slow
@pytest.mark.parametrize("num_heads", [1, 2, 3, 5, 8, 12, 16, 20])
def test_slopes_are_those_of_bloom(num_heads):
    bloom = pytest.importorskip("transformers.models.bloom.modeling_bloom")
    theirs = bloom.build_alibi_tensor(torch.ones(1, 2), num_heads, torch.float32)[:, 0, 1]
    torch.testing.assert_close(torch.tensor(slopes(num_heads)), theirs)


@pytest.mark.slow
def test_alibi_gives_bloom_s_pattern_and_looks_to_both_sides_alike():
    bloom = pytest.importorskip("transformers.models.bloom.modeling_bloom")
    query, key, value = (torch.randn(2, 3, 7, 5) for _ in range(3))
    by_key = bloom.build_alibi_tensor(torch.ones(2, 7), 3, torch.float32).reshape(2, 3, 1, 7)
    theirs = attend(query, key, value, mask=causal(), bias=by_key.expand(2, 3, 7, 7))
    torch.testing.assert_close(attend(query, key, value, mask=causal(), bias=Alibi(3)), theirs)
    found = dense(Alibi(3), 3, 7)
    assert torch.equal(found, found.mT)
    assert float(found[1, 2, 6]) == -4 * slopes(3)[1]


def test_alibi_on_a_grid_is_the_straight_line_between_cells():
    found = dense(GridAlibi(2, (3, 5), num_prefix=2), 2, 17)
    assert float(found[:, :2].abs().max()) == 0 and float(found[:, :, :2].abs().max()) == 0
    assert math.isclose(
        float(found[1, 2 + 1 * 5 + 1, 2 + 2 * 5 + 4]), -math.hypot(1, 3) * slopes(2)[1], rel_tol=1e-6
    )


def test_swin_s_table_is_read_as_timm_and_torchvision_do():
    timm = pytest.importorskip("timm.models.swin_transformer")
    vision = pytest.importorskip("torchvision.models.swin_transformer")
    ours = GridBias(3, (2, 5))
    square = timm.WindowAttention(12, 3, window_size=(2, 5))
    other = vision.ShiftedWindowAttention(12, [2, 5], [0, 0], 3)
    with torch.no_grad():
        square.relative_position_bias_table.copy_(ours.table.T)
        other.relative_position_bias_table.copy_(ours.table.T)
    assert torch.equal(dense(ours, 3, 10), square._get_rel_pos_bias()[0])
    assert torch.equal(dense(ours, 3, 10), other.get_relative_position_bias()[0])


def test_table_for_another_grid_is_that_of_timm():
    timm = pytest.importorskip("timm.layers.pos_embed_rel")
    table = torch.randn(3, 9 * 9)
    theirs = timm.resize_rel_pos_bias_table_simple(table.T, (7, 4), (13 * 7, 3))
    torch.testing.assert_close(resized_grid_table(table, (5, 5), (7, 4)), theirs.T)
    bias = GridBias(3, (5, 5), num_prefix=2)
    torch.testing.assert_close(bias.resized((5, 5)).table, bias.table)
    assert dense(bias.resized((2, 3)), 3, 8).shape == (3, 8, 8)


def test_curve_of_a_sequence_is_stretched_around_its_middle():
    bias = RelativeBias(2, 2)
    with torch.no_grad():
        bias.table.copy_(torch.tensor([[4.0, 2.0, 0.0, 1.0, 2.0], [0.0, 0.0, 7.0, 0.0, 0.0]]))
    longer = bias.resized(4).table.detach()
    torch.testing.assert_close(longer[0], torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0, 0.5, 1.0, 1.5, 2.0]))
    assert float(longer[1, 4]) == 7


SHAPES = [
    ((3, 1, 1), (5, 7)),
    ((3, 1, 1), (7,)),
    ((3, 1, 1), (1, 5, 7)),
    ((3, 1, 1), (2, 3, 5, 7)),
    ((), (5, 7)),
    ((1, 1, 1), (5, 7)),
    ((3, 5, 7), (5, 7)),
    ((3, 1, 1, 1), (2, 5, 7)),
    ((3,), ()),
    ((2, 1, 1), (0, 7)),
]


@pytest.mark.parametrize(("head", "entry"), SHAPES)
def test_lookup_is_plain_indexing_for_all_indices_that_broadcast(head, entry):
    table = torch.randn(3, 11, dtype=torch.float64, requires_grad=True)
    heads, entries = torch.randint(0, 3, head), torch.randint(0, 11, entry)
    expected, found = table[heads, entries], looked_up(table, heads, entries)
    torch.testing.assert_close(found.expand(expected.shape), expected)
    direction = torch.randn(expected.shape, dtype=torch.float64)
    gradients = [torch.autograd.grad((each * direction).sum(), table)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_learned_biases_get_gradients_through_attention():
    for bias, num_tokens in ((RelativeBias(3, 2), 7), (GridBias(3, (2, 3), num_prefix=1), 7)):
        bias = bias.double()
        tensors = [torch.randn(2, 3, num_tokens, 5, dtype=torch.float64) for _ in range(3)]

        def answer(table, bias=bias, tensors=tensors):
            return torch.func.functional_call(Attending(bias, tensors), {"bias.table": table}, ())

        assert torch.autograd.gradcheck(answer, bias.table.detach().requires_grad_(), fast_mode=True)


class Attending(torch.nn.Module):
    def __init__(self, bias, tensors):
        super().__init__()
        self.bias, self.tensors = bias, tensors

    def forward(self):
        return attend(*self.tensors, bias=self.bias)


def test_two_biases_together_are_their_sum():
    both = Sum(Alibi(3), RelativeBias(3, 2))
    torch.testing.assert_close(dense(both, 3, 5), dense(both.left, 3, 5) + dense(both.right, 3, 5))


def test_a_layer_takes_a_bias_as_positions_and_its_decoder_may_use_a_cache():
    layer = MultiHeadAttention(12, 3, positions=Alibi(3), mask=causal())
    tokens = torch.randn(2, 7, 12)
    assert not torch.allclose(layer(tokens), MultiHeadAttention(12, 3)(tokens))


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(
        ValueError, match="num_heads >= 1 and max_distance >= 0, but got num_heads=3, max_distance=-1"
    ):
        RelativeBias(3, -1)
    with pytest.raises(ValueError, match=r"a grid that is not empty, but got num_heads=3, grid=\(0, 5\)"):
        GridBias(3, (0, 5))
    with pytest.raises(ValueError, match="num_heads must be at least 1, but got 0"):
        slopes(0)
