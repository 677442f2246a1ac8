"""Shifted windows against windows drawn in loops, and against two Swin implementations where those are right."""

import math

import pytest
import torch

from archaeology.attention import MultiHeadAttention, ShiftedWindow, causal, padding
from archaeology.attention.mechanism import LayerShape

CASES = [  # grid, window, shift
    ((6, 9), 3, 0),
    ((6, 9), 3, 1),
    ((6, 9), 3, 2),
    ((5, 7), 3, 0),
    ((5, 7), 3, 1),
    ((5, 7), 3, 2),
    ((7, 2), 3, 1),
    ((3, 4), 5, 2),
    ((1, 11), 4, 3),
    ((4, 4), 1, 0),
]


def looped(mechanism, query, key, value, *, valid=None, shift):
    """Windows start at the shift along every axis that one window does not cover."""
    rows, columns = mechanism.grid
    side = mechanism.window
    table = mechanism.table.detach().reshape(-1, 2 * side - 1, 2 * side - 1)
    down = shift if side < rows else 0
    right = shift if side < columns else 0
    pattern = torch.zeros(*query.shape[:3], key.shape[2], dtype=torch.float64)
    cells = [(row, column) for row in range(rows) for column in range(columns)]
    for b in range(query.shape[0]):
        for h in range(query.shape[1]):
            for q, (y, x) in enumerate(cells):
                weights = {}
                for k, (v, u) in enumerate(cells):
                    same_row = (y - down) // side == (v - down) // side
                    same_column = (x - right) // side == (u - right) // side
                    if same_row and same_column and (valid is None or valid[b, k]):
                        score = float(query[b, h, q] @ key[b, h, k]) / math.sqrt(query.shape[3])
                        weights[k] = math.exp(score + float(table[h, y - v + side - 1, x - u + side - 1]))
                for k, weight in weights.items():
                    pattern[b, h, q, k] = weight / sum(weights.values())
    return pattern @ value


def built(grid, window, shift, heads=3):
    torch.manual_seed(0)
    mechanism = ShiftedWindow(heads, grid, window=window, shift=shift).double()
    torch.nn.init.normal_(mechanism.table)
    return mechanism


def tensors(grid, batch=2):
    torch.manual_seed(1)
    return [torch.randn(batch, 3, grid[0] * grid[1], dim, dtype=torch.float64) for dim in (5, 5, 7)]


@pytest.mark.parametrize(("grid", "window", "shift"), CASES)
def test_windows_are_those_of_the_loops_on_any_grid(grid, window, shift):
    mechanism, (query, key, value) = built(grid, window, shift), tensors(grid)
    expected = looped(mechanism, query, key, value, shift=shift)
    torch.testing.assert_close(mechanism(query, key, value), expected)
    mechanism.kernel = "reference"
    torch.testing.assert_close(mechanism(query, key, value), expected)
    torch.testing.assert_close(mechanism.pattern(query, key) @ value, expected)


@pytest.mark.parametrize(("grid", "window", "shift"), CASES)
def test_padding_is_masked_in_windows_too(grid, window, shift):
    mechanism, (query, key, value) = built(grid, window, shift), tensors(grid)
    valid = torch.rand(2, grid[0] * grid[1]) < 0.5
    key[~valid[:, None].expand(2, 3, -1)] = value[~valid[:, None].expand(2, 3, -1)] = float("nan")
    found = mechanism(query, key, value, mask=padding(valid))
    expected = looped(mechanism, query, key, value.nan_to_num(), valid=valid, shift=shift)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("grid", "window", "shift"), [((6, 9), 3, 1), ((5, 7), 3, 2)])
@pytest.mark.parametrize("is_padded", [False, True])
def test_gradients_are_those_of_the_definition(grid, window, shift, is_padded):
    mechanism, given = built(grid, window, shift), tensors(grid)
    mask = padding(torch.rand(2, grid[0] * grid[1]) < 0.7) if is_padded else None
    found = []
    for kernel in ("auto", "reference"):
        mechanism.kernel = kernel
        for tensor in given:
            tensor.requires_grad_()
        answer = mechanism(*given, mask=mask)
        found.append(torch.autograd.grad(answer.cos().sum(), (*given, mechanism.table)))
    for ours, definition in zip(*found, strict=True):
        torch.testing.assert_close(ours, definition)


def test_other_masks_and_biases_come_on_top():
    mechanism, (query, key, value) = built((5, 7), 3, 1), tensors((5, 7))
    bias = torch.randn(35, 35, dtype=torch.float64)
    given = {"mask": causal(), "bias": bias}
    pattern = mechanism.pattern(query, key, **given)
    free = mechanism.pattern(query, key)
    weighted = free * bias.exp() * torch.ones(35, 35).tril()
    torch.testing.assert_close(pattern, weighted / weighted.sum(-1, keepdim=True))
    torch.testing.assert_close(mechanism(query, key, value, **given), pattern @ value)


def test_shared_keys_are_those_of_their_group():
    mechanism, (query, key, value) = built((5, 7), 3, 1), tensors((5, 7))
    found = mechanism(query, key[:, :1], value[:, :1])
    torch.testing.assert_close(
        found, mechanism(query, key[:, :1].expand(-1, 3, -1, -1), value[:, :1].expand(-1, 3, -1, -1))
    )


def torchvision_layer(shift, grid=(14, 21), heads=3):
    """Ours and torchvision's, with the same weights."""
    vision = pytest.importorskip("torchvision.models.swin_transformer")
    theirs = vision.ShiftedWindowAttention(12, [7, 7], [shift, shift], heads)
    options = {"window": 7, "shift": shift}
    ours = MultiHeadAttention(12, heads, mechanism="shifted_window", options=options, grid=grid)
    torch.nn.init.normal_(theirs.relative_position_bias_table)
    with torch.no_grad():
        ours.mechanism.table.copy_(theirs.relative_position_bias_table.T)
    ours.qkv.load_state_dict(theirs.qkv.state_dict())
    ours.proj.load_state_dict(theirs.proj.state_dict())
    return ours, theirs


@pytest.mark.parametrize("shift", [0, 3])
def test_parity_with_torchvision(shift):
    ours, theirs = torchvision_layer(shift)
    tokens = torch.randn(2, 14 * 21, 12)
    expected = theirs(tokens.view(2, 14, 21, 12)).flatten(1, 2)
    torch.testing.assert_close(ours(tokens), expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("shift", [0, 3])
def test_parity_with_timm(shift):
    timm = pytest.importorskip("timm.models.swin_transformer")
    ours, other = torchvision_layer(shift)
    block = timm.SwinTransformerBlock(12, (14, 21), 3, window_size=7, shift_size=shift)
    state = {name: tensor for name, tensor in other.state_dict().items() if "index" not in name}
    block.attn.load_state_dict(state)
    tokens = torch.randn(2, 14 * 21, 12)
    expected = block._attn(tokens.view(2, 14, 21, 12)).flatten(1, 2)
    torch.testing.assert_close(ours(tokens), expected, atol=2e-6, rtol=1e-5)


def test_what_torchvision_forbids_by_minus_100_leaks_where_a_score_is_that_much_higher_and_ours_does_not():
    ours, theirs = torchvision_layer(3)
    with torch.no_grad():
        for layer in (ours, theirs):
            layer.qkv.weight.zero_()
            layer.qkv.bias.zero_()
            layer.qkv.weight[0, 0] = layer.qkv.weight[12, 1] = (
                10.0  # head 0 asks by feature 0, answers by feature 1
            )
            layer.qkv.weight[24, 4] = 1.0
    tokens = torch.zeros(1, 14, 21, 12)
    tokens[0, 13, 0, 0] = tokens[0, 0, 0, 1] = 2.0  # opposite edges, in one window once the picture is rolled
    changed = tokens.clone()
    changed[0, 0, 0, 4] = 5.0  # a value that the other corner must not see

    def seen(layer, picture):
        is_ours = layer is ours
        answer = layer(picture.flatten(1, 2)).view(1, 14, 21, 12) if is_ours else layer(picture)
        return answer[0, 13, 0]

    assert torch.equal(seen(ours, tokens), seen(ours, changed))
    assert float((seen(theirs, tokens) - seen(theirs, changed)).detach().abs().max()) > 0.1


def test_torchvision_lets_places_beyond_the_edge_take_weight_and_ours_does_not():
    ours, theirs = torchvision_layer(0, grid=(8, 8))
    with torch.no_grad():
        for layer in (ours, theirs):
            layer.qkv.weight.zero_()
            layer.qkv.bias.zero_()
            layer.qkv.weight[24:].copy_(torch.eye(12))  # values are the tokens themselves
            layer.proj.weight.copy_(torch.eye(12))
            layer.proj.bias.zero_()
    tokens = torch.ones(1, 8, 8, 12)  # a mean of ones is one
    torch.testing.assert_close(ours(tokens.flatten(1, 2)), tokens.flatten(1, 2))
    assert float(theirs(tokens).detach()[0, 7, 7, 0]) < 0.5


def test_dropout_is_for_training_only_and_grows_what_is_left():
    mechanism = ShiftedWindow(3, (6, 9), window=3, dropout=0.4)
    given = [tensor.float() for tensor in tensors((6, 9))]
    assert not torch.equal(mechanism(*given), mechanism(*given))
    given[2] = torch.ones(2, 3, 54, 7)
    assert abs(float(mechanism(*given).detach().mean()) - 1) < 0.1
    assert torch.equal(mechanism.eval()(*given), mechanism(*given))


def test_places_are_not_part_of_the_state():
    assert set(ShiftedWindow(3, (6, 9)).state_dict()) == {"table"}


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="a grid without prefix tokens, but got grid=None, num_prefix=0"):
        ShiftedWindow.build(LayerShape(num_heads=3, head_dim=4, num_tokens=9))
    with pytest.raises(ValueError, match=r"grid=\(3, 5\), num_prefix=1; pool by the mean"):
        ShiftedWindow.build(LayerShape(num_heads=3, head_dim=4, grid=(3, 5), num_prefix=1))
    with pytest.raises(ValueError, match=r"0 <= shift < window, but got .*window=3, shift=3"):
        ShiftedWindow(3, (6, 9), window=3, shift=3)
    with pytest.raises(
        ValueError, match=r"3 heads on a 6 x 9 grid of 54 tokens, but got 3 heads and 35 tokens"
    ):
        ShiftedWindow(3, (6, 9), window=3).double()(*tensors((5, 7)))
