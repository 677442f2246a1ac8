"""Mending on a model that compares two corners: hiding the distractor mends, hiding at random does not."""

import numpy as np
import pytest
import torch
from torch import nn

from archaeology.core.intervals import mcnemar
from archaeology.evaluate.trial import trial_of
from archaeology.failures.mending import (
    Mending,
    disputed_region,
    hide_region,
    outside_region,
    random_patches,
    strongest,
)
from archaeology.specimens.specimen import Specimen


class Distracted(nn.Module):
    """Class 1 where the lower right corner is brighter than the upper left one."""

    def forward(self, images):
        return torch.stack([images[:, 0, :4, :4].mean((1, 2)), images[:, 0, -4:, -4:].mean((1, 2))], dim=1)


@pytest.fixture
def trial():
    images = torch.full((12, 3, 16, 16), 0.2)
    images[:, :, :4, :4] = 0.5  # the object, class 0
    images[:8, :, -4:, -4:] = 1.0  # the distractor, in 8 of 12
    images = images + 0.01 * torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    specimen = Specimen("distracted", Distracted(), "other", ("a", "b"), (16, 16), (0.0,) * 3, (1.0,) * 3)
    boxes = torch.tensor([[0.0, 0, 4, 4]]).repeat(12, 1)
    return trial_of(specimen, images.clamp(0, 1), boxes=boxes, grid=(4, 4), seed=0)


def corners(rows=12):
    inside, attended = torch.zeros(rows, 16), torch.full((rows, 16), 0.1)
    inside[:, 0] = 1
    attended[:, 15] = 1.0
    attended[:, 0] = 0.9
    return inside, attended


def test_hiding_the_distractor_mends_and_random_patches_do_not(trial):
    inside, attended = corners()
    region = outside_region(attended, inside)
    assert region.hidden.sum(1).tolist() == [1] * 12 and region.hidden[:, 15].all()
    found = hide_region(trial, region, torch.zeros(12, dtype=torch.long))
    wrong, right = found.of("wrong"), found.of("right")
    assert (
        found.right.tolist() == [False] * 8 + [True] * 4 and found.mended.tolist() == [True] * 8 + [False] * 4
    )
    assert (wrong.n, wrong.changed.value, right.changed.value) == (8, 1.0, 0.0)
    assert wrong.by_chance.value < 0.4 and wrong.gain.low > 0 and wrong.p_value < 0.01
    assert wrong.beside is not None and wrong.patches == pytest.approx(1 / 16)
    assert right.gain.low <= 0 <= right.gain.high


def test_counts_are_those_of_loops():
    random = np.random.default_rng(0)
    right, after = random.random(40) < 0.5, random.random(40) < 0.6
    draws, has = random.random((40, 3)) < 0.4, random.random(40) < 0.9
    found = Mending(right, has, np.full(40, 0.1), after, draws, None, "", "mean", 0).of("wrong")
    rows = [row for row in range(40) if not right[row] and has[row]]
    assert found.n == len(rows) and found.without_region == sum(
        not right[r] and not has[r] for r in range(40)
    )
    assert found.changed.value == pytest.approx(np.mean([after[row] for row in rows]))
    assert found.gain.value == pytest.approx(np.mean([after[row] - draws[row].mean() for row in rows]))
    assert found.mcnemar_p == pytest.approx(
        mcnemar(np.array([after[r] for r in rows]), np.array([draws[r, 0] for r in rows])).p_value
    )
    broken = Mending(right, has, np.full(40, 0.1), after, draws, None, "", "mean", 0).of("right")
    rows = [row for row in range(40) if right[row] and has[row]]
    assert broken.changed.value == pytest.approx(np.mean([not after[row] for row in rows]))


def test_nothing_is_hidden_where_no_object_is_known(trial):
    inside, attended = corners()
    inside[3] = torch.nan
    found = hide_region(trial, outside_region(attended, inside), torch.zeros(12, dtype=torch.long))
    assert not found.has_region[3] and found.of("wrong").n == 7 and found.of("wrong").without_region == 1


def test_disputed_patches_are_those_only_one_map_looks_at():
    own, other = torch.zeros(1, 8), torch.zeros(1, 8)
    own[0, [1, 2, 5]] = torch.tensor([3.0, 2.0, 1.9])
    other[0, [2]] = 1.0
    assert disputed_region(own, other, 0.5).hidden[0].nonzero().flatten().tolist() == [1, 5]
    assert disputed_region(own, other, 0.125).hidden[0].nonzero().flatten().tolist() == [1]
    assert not disputed_region(torch.ones(1, 8), other).hidden.any()  # an even map accuses nobody


def test_strongest_keeps_the_largest_allowed_ones():
    values = torch.tensor([[4.0, 3, 2, 1]])
    among = torch.tensor([[False, True, True, True]])
    assert strongest(values, among, 0.5).tolist() == [[False, True, True, False]]


def test_random_patches_are_as_many_and_where_they_may_be(trial):
    count = torch.arange(12)
    free = random_patches(trial, count, 3)
    assert free.sum(2).tolist() == [[number] * 3 for number in range(12)]
    assert not torch.equal(free[5, 0], free[5, 1])
    allowed = torch.zeros(12, 16, dtype=torch.bool)
    allowed[:, 6:12] = True
    held = random_patches(trial, count, 3, allowed)
    assert held[:, :, ~allowed[0]].sum() == 0 and held.sum(2)[:, 0].tolist() == [min(n, 6) for n in range(12)]


def test_without_failures_or_successes_there_is_nothing_to_say(trial):
    region = outside_region(*reversed(corners()))
    found = hide_region(trial, region, torch.tensor([1] * 8 + [0] * 4))
    assert found.of("wrong") is None and found.of("right").n == 12
    assert not found.mended.any()


def test_bad_input_is_refused(trial):
    inside, attended = corners()
    with pytest.raises(ValueError, match="a share above 0"):
        outside_region(attended, inside, 0.0)
    with pytest.raises(ValueError, match="maps of the same patches"):
        outside_region(attended, inside[:, :4])
    region = outside_region(attended, inside)
    with pytest.raises(ValueError, match="a label for each image"):
        hide_region(trial, region, torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="one draw or more"):
        hide_region(trial, region, torch.zeros(12, dtype=torch.long), draws=0)
    with pytest.raises(ValueError, match="fill"):
        hide_region(trial, region, torch.zeros(12, dtype=torch.long), fill="gold")
    with pytest.raises(ValueError, match="kind must be"):
        hide_region(trial, region, torch.zeros(12, dtype=torch.long)).of("odd")
