"""Errors are those of the definition, worked out another way."""

import pytest
import torch

from archaeology.attention import band, mechanisms
from archaeology.zoo.config import ZooConfig
from archaeology.zoo.errors import LONGEST, MEAN, comparable, errors, lengths_for_errors, relative_error
from archaeology.zoo.subject import built

CONFIG = ZooConfig(lengths=(23, 37), heads=3, head_dim=8)


def by_name(names, **options):
    given = {"length": 37, "kind": "structured", "score_std": 1.0, "draw": 0, "config": CONFIG} | options
    found = {}
    for row in errors(names, **given):
        found.setdefault(row.mechanism, []).append(row.value)
    return found


def test_exact_attention_has_no_error_and_the_mean_has_one():
    found = by_name([MEAN, "softmax"])
    assert len(found["softmax"]) == CONFIG.heads
    assert max(found["softmax"]) < 1e-5
    assert all(0.1 < error < 1.5 for error in found[MEAN])


def test_half_precision_shows_as_an_error():
    halved = CONFIG.model_copy(update={"dtype": "bfloat16"})
    assert all(1e-4 < error < 0.05 for error in by_name(["softmax"], config=halved)["softmax"])


def test_flat_attention_is_the_mean_of_the_values():
    assert max(by_name([MEAN], score_std=1e-3)[MEAN]) < 0.01


def test_relative_error_is_length_over_length():
    exact = torch.tensor([[[[3.0], [4.0]], [[1.0], [0.0]]]], dtype=torch.float64)
    answer = exact + torch.tensor([[[[0.0], [0.5]], [[0.0], [2.0]]]])
    torch.testing.assert_close(relative_error(answer, exact), torch.tensor([0.1, 2.0], dtype=torch.float64))


def test_a_mechanism_with_shared_queries_is_held_to_its_own_exact_answer():
    names = [name for name in mechanisms if mechanisms.get(name).shares_query_and_key]
    for name in names:
        mechanism = built(name, 37, CONFIG).double().eval()
        query, value = torch.randn(2, 1, 3, 37, 8, dtype=torch.float64)
        exact = mechanism.exact(query, query, value)
        unit = query / query.norm(dim=-1, keepdim=True)
        scores = (query @ unit.mT).masked_fill(torch.eye(37, dtype=torch.bool), float("-inf"))
        torch.testing.assert_close(exact, scores.softmax(dim=-1) @ value)
        assert all(
            error < 0.01 for error in by_name([name])[name]
        )  # one chunk, in which everyone meets everyone


def test_others_estimate_plain_softmax():
    mechanism = built("softmax", 5, CONFIG)
    query, key, value = torch.randn(3, 1, 3, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(mechanism.exact(query, key, value), mechanism(query, key, value))
    nearly_all = mechanism(query, key, value, mask=band(3))
    assert not torch.allclose(mechanism.exact(query, key, value), nearly_all)


def test_only_what_means_to_be_softmax_is_compared():
    names = comparable(["softmax", "performer", "sparsemax"])
    assert names == [MEAN, "softmax", "performer"]


def test_errors_are_measured_at_lengths_that_exact_attention_can_bear():
    config = ZooConfig(lengths=(512, LONGEST, 2 * LONGEST))
    assert lengths_for_errors(config) == [512, LONGEST]
    assert lengths_for_errors(ZooConfig(lengths=(2 * LONGEST, 4 * LONGEST))) == [2 * LONGEST]


@pytest.mark.parametrize("draw", [0, 1])
def test_the_same_draw_gives_the_same_error(draw):
    first, again = (by_name([MEAN, "performer"], draw=draw) for _ in range(2))
    assert first == again
    assert first != by_name([MEAN, "performer"], draw=draw + 1)
