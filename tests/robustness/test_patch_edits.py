"""Lost patches, rectangles and shuffled pieces, against loops over pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles import patches as oracle
from tests.robustness import models

from archaeology.core.errors import UnknownNameError
from archaeology.robustness.patch_edits import covered, filled, lost_patches, shuffled


@pytest.mark.parametrize("fill", ["black", "mean"])
@pytest.mark.parametrize("grid", [(2, 3), (4, 5)])
def test_lost_patches_equal_loops(fill, grid):
    images = models.images(3)
    generator = torch.Generator().manual_seed(1)
    places = torch.stack([torch.randperm(grid[0] * grid[1], generator=generator) for _ in images])
    found = filled(images, lost_patches(places, 4, grid, (6, 9)), fill)
    for image, place, changed in zip(images, places, found, strict=True):
        gone = {patch for patch, rank in enumerate(place.tolist()) if rank < 4}
        wanted = oracle.without_patches(image.numpy(), gone, grid, fill)
        np.testing.assert_allclose(changed.numpy(), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("fill", ["black", "mean"])
def test_a_rectangle_equals_loops_also_at_the_border(fill):
    images, sides = models.images(3), (2, 5)
    corners = torch.tensor([[0, 0], [4, 4], [1, 3]])
    found = filled(images, covered(corners, sides, (6, 9)), fill)
    for image, corner, changed in zip(images, corners.tolist(), found, strict=True):
        wanted = oracle.without_rectangle(image.numpy(), corner, sides, fill)
        np.testing.assert_allclose(changed.numpy(), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("grid", [(3, 3), (2, 3), (6, 9)])
def test_equal_pieces_change_places_as_loops_say(grid):
    images = models.images(2)
    generator = torch.Generator().manual_seed(2)
    sources = torch.stack([torch.randperm(grid[0] * grid[1], generator=generator) for _ in images])
    found = shuffled(images, sources, grid)
    for image, order, changed in zip(images, sources.tolist(), found, strict=True):
        np.testing.assert_array_equal(changed.numpy(), oracle.with_pieces(image.numpy(), order, grid))


@settings(deadline=None, derandomize=True, max_examples=30)
@given(height=st.integers(3, 11), width=st.integers(3, 11), pieces=st.integers(2, 3), seed=st.integers(0, 99))
def test_pieces_of_any_size_keep_their_order_inside(height, width, pieces, seed):
    """A piece of another size is the nearest pixels of it; its own order undoes nothing."""
    image = torch.arange(height * width, dtype=torch.float64).view(1, 1, height, width)
    own = torch.arange(pieces**2)[None]
    assert torch.equal(shuffled(image, own, (pieces, pieces)), image)
    order = torch.randperm(pieces**2, generator=torch.Generator().manual_seed(seed))[None]
    changed = shuffled(image, order, (pieces, pieces))[0, 0]
    seen = set()
    for y in range(height):
        for x in range(width):
            place = int((y + 0.5) * pieces / height) * pieces + int((x + 0.5) * pieces / width)
            row, column = divmod(int(changed[y, x]), width)
            piece = int((row + 0.5) * pieces / height) * pieces + int((column + 0.5) * pieces / width)
            assert piece == int(order[0, place])
            seen.add((row, column))
    if height % pieces == 0 and width % pieces == 0:
        assert len(seen) == height * width


def test_an_unknown_fill_is_named():
    with pytest.raises(UnknownNameError, match="did you mean 'black'"):
        filled(models.images(1), torch.ones(1, 6, 9, dtype=torch.bool), "blck")
