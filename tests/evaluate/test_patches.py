"""One grid for all maps, an order for equal patches, and correlations of ranks."""

import torch
from scipy import stats
from tests.evaluate import cases
from tests.oracles import judges as oracle

from archaeology.evaluate.correlation import pearson, ranks, spearman
from archaeology.evaluate.patches import on_grid, order_of


def test_finer_maps_are_averaged_and_coarser_ones_enlarged():
    pixels = torch.rand(2, 6, 9)
    torch.testing.assert_close(
        on_grid(pixels, (2, 3)), pixels.unflatten(1, (2, 3)).unflatten(3, (3, 3)).mean((2, 4))
    )
    coarse = torch.tensor([[[0.0, 1.0]]])
    torch.testing.assert_close(on_grid(coarse, (1, 4)), torch.tensor([[[0.0, 0.25, 0.75, 1.0]]]))
    assert on_grid(pixels, (6, 9)) is pixels


def test_pixels_belong_to_the_patch_their_centre_lies_in():
    trial = cases.trial(2, grid=(4, 5))
    for y in range(6):
        for x in range(9):
            row, column = oracle.patch_of(y, x, (6, 9), (4, 5))
            assert int(trial.patch_of_pixel[y, x]) == row * 5 + column


def test_equal_patches_come_in_an_order_of_their_own():
    trial = cases.trial(4)
    values = torch.tensor([0.0, 2, 0, 0, 3, 0], dtype=torch.float64).expand(4, 6)
    order = order_of(trial, values)
    assert order[:, 0].tolist() == [4] * 4 and order[:, 1].tolist() == [1] * 4
    assert order.sort(dim=1).values.tolist() == [list(range(6))] * 4
    assert len({tuple(row) for row in order.tolist()}) > 1
    assert torch.equal(order, order_of(cases.trial(4), values))
    assert not torch.equal(order, order_of(cases.trial(4, seed=1), values))


def test_ranks_and_correlations_equal_loops():
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(0, 5, (6, 11), generator=generator).double()
    second = torch.rand(6, 11, generator=generator, dtype=torch.float64)
    first[2] = 3.0
    for number in range(6):
        wanted = oracle.ranks(first[number].tolist())
        assert ranks(first)[number].tolist() == wanted
        for ours, theirs in ((pearson, stats.pearsonr), (spearman, stats.spearmanr)):
            value = float(ours(first, second)[number])
            expected = 0.0 if number == 2 else float(theirs(first[number], second[number]).statistic)
            assert abs(value - expected) < 1e-12
