"""Whatever the order of axes, the same numbers come out in our order, and go back unchanged."""

import pytest
import torch

from archaeology.capture.contraction import contraction, einsum_axes, letter_sizes, matmul_axes

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
    roles = contraction(mine, other, output, sizes, num_images=BATCH)
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
        roles = contraction(second, first, output, sizes, query="k")
    else:
        roles = contraction(first, second, output, sizes, query="i")
    assert roles is not None
    given, values = (right, left) if swapped else (left, right)
    assert roles.shape == (BATCH, HEAD, QUERY, KEY)
    torch.testing.assert_close(
        roles.output_of(left @ right), roles.pattern_of(given) @ roles.value_of(values)
    )
    again = roles.pattern_back(roles.pattern_of(given))
    torch.testing.assert_close(left @ again if swapped else again @ right, left @ right)


@pytest.mark.parametrize(
    ("pattern", "sizes", "num_images", "num_heads", "shape"),
    [
        ("bij", {"b": 6}, 2, 3, (2, 3, QUERY, KEY)),  # heads folded into the batch, and declared
        ("bij", {"b": 6}, 2, None, (6, 1, QUERY, KEY)),  # not declared: taken for windows
        ("bij", {"b": 2}, 2, 3, (2, 1, QUERY, KEY)),  # a loop over heads
        ("bwhij", {"b": 2, "w": 4, "h": 3}, 2, 3, (8, 3, QUERY, KEY)),
        ("bhwij", {"b": 2, "w": 4, "h": 3}, 2, 3, (8, 3, QUERY, KEY)),  # heads before windows (Hiera)
        ("bwhij", {"b": 2, "w": 4, "h": 3}, 2, None, (8, 3, QUERY, KEY)),
        ("hbij", {"b": 2, "h": 3}, 2, None, (2, 3, QUERY, KEY)),
    ],
)
def test_batch_and_heads_are_told_apart(pattern, sizes, num_images, num_heads, shape):
    lead = pattern[:-2]
    sizes = {**sizes, "i": QUERY, "j": KEY, "d": DIM}
    roles = contraction(
        pattern,
        f"{lead}jd",
        f"{lead}id",
        sizes,
        query="i",
        num_images=num_images,
        num_heads=num_heads,
    )
    assert roles is not None
    assert roles.shape == shape


def test_windows_of_one_image_stay_together():
    sizes = {"b": 2, "h": 3, "w": 4, "i": 5, "j": 7, "d": 11}
    roles = contraction("bhwij", "bhwjd", "bhwid", sizes, query="i", num_images=2, num_heads=3)
    assert roles is not None
    pattern = torch.randn(2, 3, 4, 5, 7)
    ours = roles.pattern_of(pattern)
    for image in range(2):
        for window in range(4):
            torch.testing.assert_close(ours[image * 4 + window], pattern[image, :, window])


def test_two_query_axes_are_laid_in_a_row():
    sizes = {"b": 2, "h": 3, "x": 2, "y": 5, "j": 7, "d": 11}
    roles = contraction("bhxyj", "bhjd", "bhxyd", sizes)
    assert roles is not None
    assert roles.shape == (2, 3, 10, 7)


@pytest.mark.parametrize("equation", ["bij,bjd,de->bie", "bii,bid->bd"])
def test_other_einsums_are_not_read(equation):
    assert einsum_axes(equation, [len(axes) for axes in equation.split("->")[0].split(",")]) is None


@pytest.mark.parametrize("output", ["bd", "bijd"])
def test_a_product_that_is_no_sum_over_keys_is_not_read(output):
    sizes = {"b": 2, "i": 5, "j": 7, "d": 11}
    assert contraction("bij", "bjd", output, sizes) is None
