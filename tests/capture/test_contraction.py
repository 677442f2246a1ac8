"""Whatever the order of axes, the same numbers come out in our order, and go back unchanged."""

import pytest
import torch

from archaeology.capture.contraction import Hints, contraction, einsum_axes, letter_sizes, matmul_axes

BATCH, HEAD, QUERY, KEY, DIM = 2, 3, 5, 7, 11


@pytest.mark.parametrize(
    ("equation", "pattern_first"),
    [
        ("bhij,bhjd->bhid", True),
        ("bhij,bjhd->bihd", True),
        ("bhji,bhjd->bhid", True),
        ("bhjd,bhij->bhid", False),
        ("bdhj,bhij->bidh", False),
        ("... i j, ... j d -> ... i d", True),
        ("bhij,bjd->bhid", True),
        ("hbij,bhjd->bihd", True),
        ("...ij,...jd", True),
    ],
)
def test_einsum_in_any_order_is_read_in_ours_and_goes_back(equation, pattern_first):
    letters = {"b": BATCH, "h": HEAD, "i": QUERY, "j": KEY, "d": DIM}
    operands = []
    for axes in equation.replace(" ", "").split("->")[0].split(","):
        axes = axes.replace("...", "bh")
        operands.append(torch.randn([letters[letter] for letter in axes], dtype=torch.float64))
    axes = einsum_axes(equation, [operand.ndim for operand in operands])
    assert axes is not None
    first, second, output = axes
    sizes = letter_sizes((first, operands[0].shape), (second, operands[1].shape))
    mine, other = (first, second) if pattern_first else (second, first)
    pattern, value = operands if pattern_first else operands[::-1]
    roles = contraction(mine, other, output, sizes, Hints(BATCH))
    assert roles is not None
    assert roles.shape == (BATCH, HEAD, QUERY, KEY)
    product = torch.einsum(equation, *operands)
    ours = roles.pattern_of(pattern) @ roles.value_of(value)
    torch.testing.assert_close(roles.output_of(product), ours)
    torch.testing.assert_close(roles.pattern_back(roles.pattern_of(pattern)), pattern)
    torch.testing.assert_close(roles.output_back(roles.output_of(product)), product)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("pattern_shape", "value_shape"),
    [
        ((BATCH, HEAD, QUERY, KEY), (BATCH, HEAD, KEY, DIM)),
        ((BATCH, HEAD, QUERY, KEY), (BATCH, 1, KEY, DIM)),
        ((1, HEAD, QUERY, KEY), (BATCH, HEAD, KEY, DIM)),
        ((HEAD, QUERY, KEY), (BATCH, HEAD, KEY, DIM)),
        ((BATCH, HEAD, QUERY, KEY), (KEY, DIM)),
    ],
)
def test_matmul_on_either_side_with_broadcasting(pattern_shape, value_shape, swapped):
    pattern = torch.randn(pattern_shape, dtype=torch.float64)
    value = torch.randn(value_shape, dtype=torch.float64)
    left, right = (value.mT, pattern.mT) if swapped else (pattern, value)
    first, second, output = matmul_axes(left.ndim, right.ndim)
    sizes = letter_sizes((first, left.shape), (second, right.shape))
    if swapped:
        roles = contraction(second, first, output, sizes, Hints(), query="k")
    else:
        roles = contraction(first, second, output, sizes, Hints(), query="i")
    assert roles is not None
    given, values = (right, left) if swapped else (left, right)
    assert roles.shape == (BATCH, HEAD, QUERY, KEY)
    torch.testing.assert_close(
        roles.output_of(left @ right), roles.pattern_of(given) @ roles.value_of(values)
    )
    again = roles.pattern_back(roles.pattern_of(given))
    torch.testing.assert_close(left @ again if swapped else again @ right, left @ right)


@pytest.mark.parametrize(
    ("pattern", "sizes", "hints", "shape"),
    [
        ("bij", {"b": 6}, Hints(2, 3, (2, 5, 33)), (2, 3)),  # heads folded into the batch, and declared
        ("bij", {"b": 6}, Hints(2, None, (2, 5, 33)), (6, 1)),  # not declared: taken for windows
        ("bij", {"b": 12}, Hints(2, 3, (12, 33, 5, 1)), (12, 1)),  # windows, and a loop over heads
        ("bij", {"b": 6}, Hints(2, 3, (6, 2, 33)), (2, 3)),  # six tokens of two images, tokens first
        ("bij", {"b": 12}, Hints(2, 3, (4, 5, 33)), (4, 3)),  # windows and heads together
        ("bij", {"b": 2}, Hints(2, 3, (2, 5, 33)), (2, 1)),  # a loop over heads
        ("bij", {"b": 6}, Hints(5, 3, (5, 2, 33), 2), (2, 3)),  # the call tells
        ("bij", {"b": 6}, Hints(2, 3, (6, 5, 33), 6), (6, 1)),
        ("bwhij", {"b": 2, "w": 4, "h": 3}, Hints(2, 3), (8, 3)),
        ("bhwij", {"b": 2, "w": 4, "h": 3}, Hints(2, 3), (8, 3)),  # heads before windows (Hiera)
        ("bwhij", {"b": 2, "w": 4, "h": 3}, Hints(2), (8, 3)),
        ("hbij", {"b": 2, "h": 3}, Hints(2), (2, 3)),
        ("hbij", {"b": 2, "h": 4}, Hints(2, 4), (2, 4)),
        ("bhij", {"b": 6, "h": 2}, Hints(2), (6, 2)),  # windows, with as many heads as images
        ("bhij", {"b": 2, "h": 2}, Hints(2, 2), (2, 2)),
    ],
)
def test_batch_and_heads_are_told_apart(pattern, sizes, hints, shape):
    lead = pattern[:-2]
    sizes = {**sizes, "i": QUERY, "j": KEY, "d": DIM}
    roles = contraction(pattern, f"{lead}jd", f"{lead}id", sizes, hints, query="i")
    assert roles is not None
    assert roles.shape == (*shape, QUERY, KEY)
    if "h" in lead:
        assert roles.head == "h"


def test_windows_of_one_image_stay_together():
    sizes = {"b": 2, "h": 3, "w": 4, "i": 5, "j": 7, "d": 11}
    roles = contraction("bhwij", "bhwjd", "bhwid", sizes, Hints(2, 3), query="i")
    assert roles is not None
    pattern = torch.randn(2, 3, 4, 5, 7)
    ours = roles.pattern_of(pattern)
    for image in range(2):
        for window in range(4):
            torch.testing.assert_close(ours[image * 4 + window], pattern[image, :, window])


def test_two_query_axes_are_laid_in_a_row():
    sizes = {"b": 2, "h": 3, "x": 2, "y": 5, "j": 7, "d": 11}
    roles = contraction("bhxyj", "bhjd", "bhxyd", sizes, Hints())
    assert roles is not None
    assert roles.shape == (2, 3, 10, 7)


@pytest.mark.parametrize("equation", ["bij,bjd,de->bie", "bii,bid->bd"])
def test_other_einsums_are_not_read(equation):
    assert einsum_axes(equation, [len(axes) for axes in equation.split("->")[0].split(",")]) is None


@pytest.mark.parametrize("output", ["bd", "bijd"])
def test_a_product_that_is_no_sum_over_keys_is_not_read(output):
    sizes = {"b": 2, "i": 5, "j": 7, "d": 11}
    assert contraction("bij", "bjd", output, sizes, Hints()) is None
