"""What every registered attention mechanism must do, whatever it computes inside.

A new mechanism is found here by itself; it needs a line in `OPTIONS` only if its defaults do not suit 11 tokens.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from archaeology.attention import MultiHeadAttention, causal, mechanisms, padding
from archaeology.attention.masks import Mask
from archaeology.attention.mechanism import LayerShape, Mechanism

BATCH, HEADS, DIM, VALUE_DIM = 2, 3, 5, 7
GRID = (3, 5)
TOKENS = GRID[0] * GRID[1]
SHAPE = LayerShape(num_heads=HEADS, head_dim=DIM, num_tokens=TOKENS, grid=GRID)

# Options that make a mechanism do at 15 tokens what it does at thousands.
OPTIONS: dict[str, dict[str, Any]] = {
    "shifted_window": {"window": 2},
    "linformer": {"rank": 4},
    "reformer": {"bucket_size": 4, "num_rounds": 2},
    "sliding_window": {"radius": 3},
    "longformer": {"radius": 2, "num_global": 2},
    "strided": {"stride": 4},
    "fixed": {"stride": 4, "summary": 1},
    "big_bird": {"block_size": 2, "num_random": 1},
}
# Which mechanisms treat all places alike, so that shuffled tokens give shuffled answers.
EQUIVARIANT = {"softmax", "sparsemax", "entmax15", "linear", "performer"}


def built(name: str, **shape: Any) -> Mechanism:
    torch.manual_seed(0)
    layer = LayerShape(**(vars(SHAPE) | shape))
    return mechanisms.get(name).build(layer, **OPTIONS.get(name, {})).eval()


def inputs(mechanism: Mechanism, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    query, key = (
        torch.randn(BATCH, HEADS, TOKENS, DIM, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    value = torch.randn(BATCH, HEADS, TOKENS, VALUE_DIM, generator=generator, dtype=torch.float64)
    query = query.to(dtype)
    return query, query if mechanism.shares_query_and_key else key.to(dtype), value.to(dtype)


def call(mechanism: Mechanism, query: Tensor, key: Tensor, value: Tensor, mask: Mask | None = None) -> Tensor:
    return mechanism(query, query if mechanism.shares_query_and_key else key, value, mask=mask)


def masks_of(mechanism: Mechanism) -> list[Mask | None]:
    """No mask, and those that the mechanism says it can take."""
    valid = torch.ones(BATCH, TOKENS, dtype=torch.bool)
    valid[0, -4:] = False
    valid[1, :2] = False
    masks: list[Mask | None] = [None]
    masks += [causal()] if "causal" in mechanism.supports else []
    masks += [padding(valid)] if "padding" in mechanism.supports else []
    masks += [causal() & padding(valid)] if {"causal", "padding"} <= mechanism.supports else []
    return masks


every_mechanism = pytest.mark.parametrize("name", mechanisms.names())


@every_mechanism
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_answer_has_the_shape_dtype_and_device_of_the_input_and_is_finite(
    name: str, dtype: torch.dtype
) -> None:
    mechanism = built(name).to(dtype)
    query, key, value = inputs(mechanism, dtype)
    for mask in masks_of(mechanism):
        answer = mechanism(query, key, value, mask=mask)
        assert answer.shape == (BATCH, HEADS, TOKENS, VALUE_DIM)
        assert answer.dtype == dtype and answer.device == query.device
        assert bool(answer.isfinite().all())


@every_mechanism
def test_float32_agrees_with_float64(name: str) -> None:
    mechanism = built(name)
    query, key, value = inputs(mechanism, torch.float32)
    single = mechanism(query, key, value)
    double = call(mechanism.double(), query.double(), key.double(), value.double())
    torch.testing.assert_close(single.double(), double, atol=2e-4, rtol=2e-4)


@every_mechanism
def test_same_answer_twice_and_the_random_state_is_left_alone(name: str) -> None:
    mechanism = built(name).double()
    query, key, value = inputs(mechanism)
    before = torch.get_rng_state()
    first = mechanism(query, key, value)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, mechanism(query, key, value))


@every_mechanism
def test_every_example_alone_equals_the_example_in_the_batch(name: str) -> None:
    mechanism = built(name).double()
    query, key, value = inputs(mechanism)
    whole = mechanism(query, key, value)
    for i in range(BATCH):
        part = slice(i, i + 1)
        alone = call(mechanism, query[part], key[part], value[part])
        torch.testing.assert_close(alone, whole[part], atol=1e-12, rtol=1e-9)


@every_mechanism
def test_shuffled_tokens_give_shuffled_answers_where_places_count_alike(name: str) -> None:
    mechanism = built(name).double()
    query, key, value = inputs(mechanism)
    order = torch.randperm(TOKENS, generator=torch.Generator().manual_seed(2))
    straight = mechanism(query, key, value)[:, :, order]
    shuffled = call(mechanism, query[:, :, order], key[:, :, order], value[:, :, order])
    difference = float((straight - shuffled).detach().abs().max())
    assert (difference < 1e-9) == (name in EQUIVARIANT), difference


@every_mechanism
def test_gradients_against_finite_differences(name: str) -> None:
    mechanism = built(name).double()
    query, key, value = (tensor[:1, :, :6].detach().requires_grad_() for tensor in inputs(mechanism))
    if "cross" not in mechanism.supports and mechanism_is_bound_to_length(mechanism):
        query, key, value = (tensor[:1].detach().requires_grad_() for tensor in inputs(mechanism))
    if mechanism.shares_query_and_key:
        assert torch.autograd.gradcheck(
            lambda query, value: call(mechanism, query, query, value), (query, value), fast_mode=True
        )
    else:
        assert torch.autograd.gradcheck(mechanism, (query, key, value), fast_mode=True)


def mechanism_is_bound_to_length(mechanism: Mechanism) -> bool:
    """Whether it refuses a sequence that is shorter than it was built for."""
    query, key, value = (tensor[:, :, :6] for tensor in inputs(mechanism))
    try:
        call(mechanism, query, key, value)
    except ValueError:
        return True
    return False


@every_mechanism
def test_gradients_reach_learned_parameters(name: str) -> None:
    mechanism = built(name).double()
    query, key, value = inputs(mechanism)
    if list(mechanism.parameters()):
        mechanism(query, key, value).square().sum().backward()
    for parameter in mechanism.parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all())


@every_mechanism
def test_pattern_times_values_is_the_answer(name: str) -> None:
    mechanism = built(name).double()
    query, key, value = inputs(mechanism)
    for mask in masks_of(mechanism):
        pattern = mechanism.pattern(query, key, mask=mask)
        assert pattern.shape == (BATCH, HEADS, TOKENS, TOKENS)
        torch.testing.assert_close(
            pattern @ value, mechanism(query, key, value, mask=mask), atol=1e-9, rtol=1e-7
        )
        if mechanism.facts.rows_sum_to_one:
            total = pattern.sum(dim=-1).detach()
            assert bool((((total - 1).abs() < 1e-9) | (total == 0)).all())


@every_mechanism
def test_pattern_of_some_rows_and_heads_is_that_part_of_the_whole(name: str) -> None:
    mechanism = built(name).double()
    query, key, _ = inputs(mechanism)
    rows, heads = torch.tensor([7, 2, 11]), torch.tensor([2, 0])
    part = mechanism.pattern(query, key, rows=rows, heads=heads)
    torch.testing.assert_close(part, mechanism.pattern(query, key)[:, heads][:, :, rows])


@every_mechanism
def test_the_future_changes_nothing_past_bit_for_bit(name: str) -> None:
    mechanism = built(name)
    if "causal" not in mechanism.supports:
        with pytest.raises(ValueError, match="was asked for causal"):
            MultiHeadAttention(
                HEADS * DIM, HEADS, mechanism=name, mask=causal(), options=OPTIONS.get(name), **layer_sizes()
            )
        return
    query, key, value = inputs(mechanism, torch.float32)
    now = 6
    past = mechanism(query, key, value, mask=causal())[:, :, :now]
    for factor in (-3.0, 1000.0):
        later = [tensor.clone() for tensor in (query, key, value)]
        for tensor in later:
            tensor[:, :, now:] *= factor
        assert torch.equal(call(mechanism, *later, mask=causal())[:, :, :now], past), factor


def layer_sizes() -> dict[str, Any]:
    return {"num_tokens": TOKENS, "grid": GRID}


@every_mechanism
@pytest.mark.parametrize("junk", [1000.0, float("nan")])
def test_what_padding_holds_changes_nothing(name: str, junk: float) -> None:
    mechanism = built(name)
    if "padding" not in mechanism.supports:
        query, key, value = inputs(mechanism, torch.float32)
        with pytest.raises(ValueError, match="was asked for padding"):
            mechanism(query, key, value, mask=padding(torch.ones(BATCH, TOKENS, dtype=torch.bool)))
        return
    for dtype in (torch.float32, torch.bfloat16):
        mechanism = built(name).to(dtype)
        query, key, value = inputs(mechanism, dtype)
        valid = torch.rand(BATCH, TOKENS, generator=torch.Generator().manual_seed(3)) > 0.4
        clean = mechanism(query, key, value, mask=padding(valid))
        spoilt = [torch.where(valid[:, None, :, None], tensor, junk) for tensor in (query, key, value)]
        if not mechanism.shares_query_and_key:
            spoilt[0] = query  # a padded query may answer what it likes
        dirty = call(mechanism, *spoilt, mask=padding(valid))
        real = valid[:, None, :, None] if mechanism.shares_query_and_key else True
        torch.testing.assert_close(
            torch.where(torch.as_tensor(real), dirty - clean, 0), torch.zeros_like(clean)
        )


@every_mechanism
def test_where_nothing_may_be_attended_there_are_zeros_and_finite_gradients(name: str) -> None:
    mechanism = built(name).double()
    if "padding" not in mechanism.supports:
        return
    query, key, value = (tensor.detach().requires_grad_() for tensor in inputs(mechanism))
    valid = torch.ones(BATCH, TOKENS, dtype=torch.bool)
    valid[1] = False
    answer = call(mechanism, query, key, value, padding(valid))
    assert torch.equal(answer[1], torch.zeros_like(answer[1]))
    answer.sum().backward()
    assert query.grad is not None and value.grad is not None
    assert bool(query.grad.isfinite().all()) and bool(value.grad.isfinite().all())
    assert bool((value.grad[1] == 0).all())


@every_mechanism
def test_no_tokens_give_no_answers(name: str) -> None:
    mechanism = built(name).double()
    query, key, value = (tensor[:, :, :0] for tensor in inputs(mechanism))
    assert call(mechanism, query, key, value).shape == (BATCH, HEADS, 0, VALUE_DIM)
    assert mechanism.pattern(query, query if mechanism.shares_query_and_key else key).shape[2:] == (0, 0)
    if "cross" in mechanism.supports:
        some = inputs(mechanism)[0]
        assert torch.equal(mechanism(some, key, value), torch.zeros(BATCH, HEADS, TOKENS, VALUE_DIM).double())


@every_mechanism
def test_one_token_attends_to_itself(name: str) -> None:
    mechanism = built(name, num_tokens=1, grid=(1, 1)).double()
    query, key, value = (tensor[:, :, :1] for tensor in inputs(mechanism))
    answer = call(mechanism, query, key, value)
    assert answer.shape == value.shape
    if mechanism.facts.rows_sum_to_one:
        torch.testing.assert_close(answer, value)


@every_mechanism
def test_what_is_not_supported_is_refused(name: str) -> None:
    mechanism = built(name).double()
    query, key, value = inputs(mechanism)
    if "bias" not in mechanism.supports:
        with pytest.raises(ValueError, match="was asked for bias"):
            mechanism(query, key, value, bias=torch.zeros(TOKENS, TOKENS, dtype=torch.float64))
    if "grouped" not in mechanism.supports:
        with pytest.raises(ValueError, match="was asked for"):
            mechanism(query, key[:, :1], value[:, :1])
    if "mask" not in mechanism.supports:
        with pytest.raises(ValueError, match="was asked for mask"):
            mechanism(query, key, value, mask=torch.ones(TOKENS, TOKENS, dtype=torch.bool))
    if "cross" not in mechanism.supports:
        with pytest.raises(ValueError, match="was asked for cross"):
            mechanism(query[:, :, :-2], key, value)


@every_mechanism
def test_a_layer_takes_it_by_name_and_shows_its_pattern(name: str) -> None:
    torch.manual_seed(0)
    layer = MultiHeadAttention(
        HEADS * DIM, HEADS, mechanism=name, options=OPTIONS.get(name), **layer_sizes()
    ).eval()
    tokens = torch.randn(BATCH, TOKENS, HEADS * DIM)
    assert layer(tokens).shape == tokens.shape
    rows, heads = torch.tensor([3, 1]), torch.tensor([2])
    assert layer.pattern(tokens, rows=rows, heads=heads).shape == (BATCH, 1, 2, TOKENS)
    with pytest.raises(ValueError, match=f"{name} attention cannot be built with"):
        MultiHeadAttention(HEADS * DIM, HEADS, mechanism=name, options={"no_such": 1}, **layer_sizes())


@every_mechanism
def test_facts_are_told(name: str) -> None:
    facts = mechanisms.get(name).facts
    assert facts.title and facts.formula and "N" in facts.time and "N" in facts.memory and facts.source


@every_mechanism
def test_it_trains_under_autocast(name: str) -> None:
    torch.manual_seed(0)
    layer = MultiHeadAttention(
        HEADS * 8, HEADS, mechanism=name, options=OPTIONS.get(name), num_tokens=TOKENS, grid=GRID
    )
    tokens = torch.randn(BATCH, TOKENS, HEADS * 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        answer = layer(tokens)
    answer.float().square().sum().backward()
    assert tokens.grad is not None and bool(tokens.grad.isfinite().all()) and bool(tokens.grad.any())
