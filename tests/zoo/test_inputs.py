"""The made-up inputs have the structure and the sharpness that they are said to have."""

import pytest
import torch

from archaeology.zoo import inputs
from archaeology.zoo.inputs import KINDS, grid_for, sample, score_deviation


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("score_std", [0.5, 2.0])
def test_scores_have_the_deviation_asked_for(kind, score_std):
    given = sample(kind, 130, 3, 20, score_std=score_std, seed=5)
    assert (
        given.query.shape == given.key.shape == given.value.shape == given.gradient.shape == (1, 3, 130, 20)
    )
    scores = given.query.double() @ given.key.double().mT / 20**0.5
    assert float(scores.std(correction=0)) == pytest.approx(score_std, rel=1e-5)
    assert score_deviation(given.query, given.key) == pytest.approx(score_std, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_and_the_global_state_does_not(kind):
    before = torch.get_rng_state()
    first = sample(kind, 33, 2, 6, score_std=1.0, seed=1)
    torch.randn(3)
    again, other = (sample(kind, 33, 2, 6, score_std=1.0, seed=seed) for seed in (1, 2))
    assert torch.equal(first.query, again.query) and torch.equal(first.value, again.value)
    assert not torch.equal(first.query, other.query)
    torch.set_rng_state(before)
    sample(kind, 33, 2, 6, score_std=1.0, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_near_tokens_match_where_there_is_structure_and_only_there():
    def lead(kind):
        """Mean score of neighbours in a row of the grid, less that of all pairs."""
        given = sample(kind, 400, 4, 32, score_std=1.0, seed=0)
        scores = given.query @ given.key.mT / 32**0.5
        return float(scores.diagonal(offset=1, dim1=-2, dim2=-1).mean() - scores.mean())

    assert lead("structured") > 2
    assert abs(lead("random")) < 0.2


def test_pieces_of_a_few_kinds_lie_about(monkeypatch):
    monkeypatch.setattr(inputs, "PLACE", 0.0)
    monkeypatch.setattr(inputs, "NOISE", 0.0)
    query = sample("structured", 900, 1, 64, score_std=1.0, seed=3).query[0, 0].view(30, 30, 64)
    assert 2 <= len(query.flatten(0, 1).unique(dim=0)) <= inputs.NUM_THINGS
    alike = (query[:, 1:] == query[:, :-1]).all(dim=-1)
    assert 0.6 < float(alike.float().mean()) < 0.98  # neighbours mostly belong to one piece


@pytest.mark.parametrize(
    ("length", "grid"), [(1, (1, 1)), (12, (3, 4)), (16, (4, 4)), (13, (1, 13)), (512, (16, 32))]
)
def test_the_grid_is_as_square_as_it_can_be(length, grid):
    assert grid_for(length) == grid
