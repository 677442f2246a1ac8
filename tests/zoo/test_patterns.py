"""Maps are block means of patterns, and say what is odd about the rows."""

import numpy as np
import pytest
import torch

from archaeology.attention import mechanisms
from archaeology.core.errors import UnknownNameError
from archaeology.figures.zoo_patterns import compute as compute_maps
from archaeology.figures.zoo_patterns import headline, note
from archaeology.zoo import patterns as module
from archaeology.zoo.patterns import patterns


def test_a_map_is_the_block_mean_in_even_shares():
    pattern = torch.rand(300, 300).softmax(dim=-1)
    found = module._map_of("softmax", pattern)
    assert found.cells.shape == (100, 100)
    np.testing.assert_allclose(found.cells[7, 50], pattern[21:24, 150:153].mean() * 300, rtol=1e-5)
    np.testing.assert_allclose(found.cells.mean(), 1, rtol=1e-5)
    assert found.rows_sum_to_one and note(found) == ""


def test_the_last_block_may_be_smaller():
    found = module._map_of("softmax", torch.full((130, 130), 1 / 130))
    assert found.cells.shape == (65, 65)
    np.testing.assert_allclose(module._map_of("softmax", torch.full((257, 257), 1 / 257)).cells, 1, rtol=1e-5)


def test_odd_rows_are_named():
    pattern = torch.eye(4)
    pattern[0, 1], pattern[2, 2] = -0.5, 2.0
    found = module._map_of("softmax", pattern)
    assert not found.rows_sum_to_one
    assert note(found) == "rows sum to 0.5 to 2.0, 6\N{NARROW NO-BREAK SPACE}% below 0"


@pytest.mark.parametrize("name", mechanisms.names())
def test_every_mechanism_can_be_drawn(name):
    (found,) = patterns([name], length=30)
    assert found.cells.shape == (30, 30) and np.isfinite(found.cells).all()
    assert found.rows_sum_to_one or not mechanisms.get(name).facts.rows_sum_to_one


def test_unknown_names_are_refused_before_anything_is_computed():
    with pytest.raises(UnknownNameError, match="did you mean 'softmax'"):
        patterns(["softmx"])


def test_nothing_asked_for_is_nothing_drawn():
    assert compute_maps(()) is None


def test_the_headline_names_whose_rows_need_not_sum_to_one():
    assert (
        headline(compute_maps(["softmax"])) == "Every row sums to one: each answer is an average of values."
    )
    loose = [name for name in mechanisms if not mechanisms.get(name).facts.rows_sum_to_one]
    for name in loose:
        assert mechanisms.get(name).facts.title in headline(compute_maps(["softmax", name]))
