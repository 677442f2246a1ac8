"""What holds for every world: samples by number, without end or up to a size, cut and joined without a trace."""

import itertools

import pytest
import torch

from archaeology.data.worlds import CueConflict


def test_batches_are_the_samples_in_order_and_end_where_they_should():
    world = CueConflict(num_images=10, size=16)
    batches = list(world.batches(4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert torch.equal(torch.cat([batch.images for batch in batches]), world.generate(0, 10).images)


def test_a_world_without_number_goes_on():
    world = CueConflict(num_images=10, size=16)
    world.num_samples = None
    taken = list(itertools.islice(world.batches(3, start=300), 2))
    assert torch.equal(taken[1].images, world.generate(303, 3).images)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": 2, "start": -1}])
def test_impossible_batches(wrong):
    with pytest.raises(ValueError, match="batch_size >= 1 and start >= 0"):
        next(CueConflict(size=16).batches(**wrong))


def test_impossible_samples():
    with pytest.raises(ValueError, match="start >= 0 and count >= 1"):
        CueConflict(size=16).generate(0, 0)
