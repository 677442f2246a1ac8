"""Sparsemax and entmax-1.5 against the sort of the papers, bisection and the `entmax` package."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor

from archaeology.attention import Entmax15, Sparsemax, padding
from archaeology.attention.entmax import entmax15
from archaeology.attention.sparsemax import sparsemax


def sorted_sparsemax(scores: list[float]) -> list[float]:
    """Algorithm 1 of `martins2016softmax`, line by line."""
    ordered = sorted(scores, reverse=True)
    size, total = 0, 0.0
    for k in range(1, len(ordered) + 1):
        if 1 + k * ordered[k - 1] > sum(ordered[:k]):
            size, total = k, sum(ordered[:k])
    threshold = (total - 1) / size
    return [max(score - threshold, 0) for score in scores]


def bisected_entmax15(scores: list[float]) -> list[float]:
    """The threshold of equation 14 of `peters2019sparse`, halved into place."""
    halves = [score / 2 for score in scores]
    low, high = max(halves) - 1, max(halves)
    for _ in range(200):
        middle = (low + high) / 2
        total = sum(max(half - middle, 0) ** 2 for half in halves)
        low, high = (middle, high) if total > 1 else (low, middle)
    return [max(half - low, 0) ** 2 for half in halves]


ORACLES = [(sparsemax, sorted_sparsemax), (entmax15, bisected_entmax15)]
both = pytest.mark.parametrize(("ours", "oracle"), ORACLES, ids=["sparsemax", "entmax15"])


@both
@settings(deadline=None, derandomize=True, max_examples=80)
@given(row=some.lists(some.floats(-50, 50), min_size=1, max_size=13))
def test_any_row_is_what_the_paper_says(ours, oracle, row):
    found = ours(torch.tensor(row, dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor(oracle(row), dtype=torch.float64), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(found.sum(), torch.ones((), dtype=torch.float64))


@both
def test_gradients_against_finite_differences(ours, oracle):
    scores = torch.randn(2, 3, 5, 11, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ours, scores)
    forbidden = torch.rand(5, 11) < 0.5
    forbidden[:, 0] = False
    forbidden[3] = True
    assert torch.autograd.gradcheck(lambda free: ours(free.masked_fill(forbidden, float("-inf"))), scores)


@both
def test_forbidden_keys_get_nothing_and_rows_without_keys_are_zero(ours, oracle):
    scores = torch.randn(3, 7, dtype=torch.float64)
    scores[0, 2] = scores[1] = float("-inf")
    scores.requires_grad_()
    weights = ours(scores)
    assert weights[0, 2] == 0 and torch.equal(weights[1], torch.zeros(7, dtype=torch.float64))
    left = [0, 1, 3, 4, 5, 6]
    torch.testing.assert_close(weights[0, left], ours(scores[0, left]), atol=1e-15, rtol=1e-15)
    (weights * torch.randn(3, 7)).sum().backward()
    assert bool(scores.grad.isfinite().all()) and float(scores.grad[1].abs().sum()) == 0


@both
def test_no_keys_give_no_weights(ours, oracle):
    assert ours(torch.zeros(3, 0)).shape == (3, 0)


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_precisions_stay_near(ours, oracle, dtype):
    scores = 3 * torch.randn(5, 301, dtype=torch.float64)
    rough = scores.to(dtype).requires_grad_()
    weights = ours(rough)
    assert weights.dtype == dtype
    exact = ours(rough.detach().double())
    torch.testing.assert_close(weights.double(), exact, atol=4 * torch.finfo(dtype).eps, rtol=0.01)
    weights.sum().backward()
    assert rough.grad.dtype == dtype


@both
def test_a_row_does_not_depend_on_the_rows_beside_it_bit_for_bit(ours, oracle):
    scores = torch.randn(2, 97)
    other = torch.cat([torch.linspace(0, 1e-3, 97)[None], scores[1:]])  # many more steps to take
    assert torch.equal(ours(scores)[1], ours(other)[1])


@both
def test_equal_scores_are_weighted_alike_and_one_far_ahead_takes_all(ours, oracle):
    torch.testing.assert_close(ours(torch.full((4099,), 3.7)), torch.full((4099,), 1 / 4099))
    far = torch.zeros(13)
    far[5] = 2.5
    assert torch.equal(ours(far), torch.nn.functional.one_hot(torch.tensor(5), 13).float())


def test_entmax_is_between_sparsemax_and_softmax_in_how_many_keys_it_keeps():
    scores = 2 * torch.randn(11, 211)
    kept = [int((weigh(scores) > 0).sum()) for weigh in (sparsemax, entmax15, lambda row: row.softmax(-1))]
    assert kept[0] < kept[1] / 2 and kept[1] < kept[2] / 2


@pytest.mark.parametrize("name", ["sparsemax", "entmax15"])
def test_parity_with_the_entmax_package(name):
    entmax = pytest.importorskip("entmax")
    ours = {"sparsemax": sparsemax, "entmax15": entmax15}[name]
    scores = (2 * torch.randn(3, 5, 7, 101, dtype=torch.float64)).requires_grad_()
    direction = torch.randn_like(scores)
    found, expected = ours(scores), getattr(entmax, name)(scores)
    torch.testing.assert_close(found, expected, atol=1e-13, rtol=1e-10)
    gradients = [torch.autograd.grad(weights, scores, direction)[0] for weights in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-8)


def test_the_package_fails_on_rows_without_keys_where_ours_are_zero():
    entmax = pytest.importorskip("entmax")
    scores = torch.full((1, 5), float("-inf"))
    with pytest.raises(RuntimeError, match="index -1 is out of bounds"):
        entmax.sparsemax(scores)
    assert torch.equal(sparsemax(scores), torch.zeros(1, 5))


@pytest.mark.parametrize(
    ("mechanism", "oracle"), [(Sparsemax(), sorted_sparsemax), (Entmax15(), bisected_entmax15)]
)
def test_mechanism_scores_weighs_and_averages_with_everything_it_supports(mechanism, oracle):
    query, key = torch.randn(2, 6, 5, 3, dtype=torch.float64), torch.randn(2, 3, 11, 3, dtype=torch.float64)
    value, bias = torch.randn(2, 3, 11, 7, dtype=torch.float64), torch.randn(5, 11, dtype=torch.float64)
    valid = torch.ones(2, 11, dtype=torch.bool)
    valid[1, 7:] = False
    expected = looped(query, key, value, bias, valid, oracle)
    given = {"mask": padding(valid), "bias": bias, "query_offset": 6}
    torch.testing.assert_close(mechanism(query, key, value, **given), expected)
    rows, heads = torch.tensor([4, 1]), torch.tensor([5, 0, 2])
    pattern = mechanism.pattern(query, key, rows=rows, heads=heads, **given)
    each = value.repeat_interleave(2, dim=1)[:, heads]
    torch.testing.assert_close(pattern @ each, expected[:, heads][:, :, rows])


def looped(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, valid: Tensor, oracle) -> Tensor:
    answer = torch.zeros(*query.shape[:3], value.shape[3], dtype=torch.float64)
    for b in range(2):
        for h in range(6):
            for q in range(5):
                keys = [k for k in range(11) if valid[b, k]]
                scores = [
                    float(query[b, h, q] @ key[b, h // 2, k]) / 3**0.5 + float(bias[q, k]) for k in keys
                ]
                for k, weight in zip(keys, oracle(scores), strict=True):
                    answer[b, h, q] += weight * value[b, h // 2, k]
    return answer


def test_dropout_is_for_training_only():
    mechanism = Sparsemax(dropout=0.5)
    tensors = [torch.randn(2, 3, 17, 5) for _ in range(3)]
    assert not torch.equal(mechanism(*tensors), mechanism(*tensors))
    assert torch.equal(mechanism.eval()(*tensors), mechanism(*tensors))
