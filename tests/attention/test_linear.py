"""Linear attention and what it shares with FAVOR+: sums over all keys, over the past, and token by token."""

import pytest
import torch
from tests.oracles import cheaper_attention as oracle

from archaeology.attention import causal, mechanisms, padding
from archaeology.attention.causal_product import causal_product
from archaeology.attention.feature_product import State, counted
from archaeology.attention.linear import elu_features

linear = mechanisms.get("linear")()


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_weights_are_products_of_features_over_all_keys_or_the_past():
    query, key, value = drawn(2, 3, 11, 5), drawn(2, 3, 11, 5, seed=1), drawn(2, 3, 11, 7, seed=2)
    everything, past = linear(query, key, value), linear(query, key, value, mask=causal())
    for b in range(2):
        for h in range(3):
            parts = (query[b, h], key[b, h], value[b, h], oracle.elu_weight)
            torch.testing.assert_close(everything[b, h], oracle.feature_attention(*parts, lambda i, j: True))
            torch.testing.assert_close(past[b, h], oracle.feature_attention(*parts, lambda i, j: j <= i))


@pytest.mark.parametrize(
    ("queries", "keys", "offset"), [(5, 11, 0), (11, 5, 0), (3, 11, 8), (3, 11, 5), (7, 5, 2)]
)
def test_queries_may_go_on_after_earlier_keys_and_keys_may_be_more_or_fewer(queries, keys, offset):
    query, key, value = drawn(1, 1, queries, 5), drawn(1, 1, keys, 5, seed=1), drawn(1, 1, keys, 7, seed=2)
    answer = linear(query, key, value, mask=causal(), query_offset=offset)
    expected = oracle.feature_attention(
        query[0, 0], key[0, 0], value[0, 0], oracle.elu_weight, lambda i, j: j <= i + offset
    )
    torch.testing.assert_close(answer[0, 0], expected)


def test_a_state_of_fixed_size_decodes_the_same_as_the_whole_sequence():
    query, key, value = drawn(2, 3, 11, 5), drawn(2, 3, 11, 5, seed=1), drawn(2, 3, 11, 7, seed=2)
    state, answers = State(torch.zeros(2, 3, 5, 8, dtype=torch.float64)), []
    for i in range(11):
        now = slice(i, i + 1)
        state = state.after(elu_features(key[:, :, now]), value[:, :, now])
        answers.append(state.answers(elu_features(query[:, :, now])))
    torch.testing.assert_close(torch.cat(answers, dim=2), linear(query, key, value, mask=causal()))


@pytest.mark.parametrize("tokens", [1, 2, 7, 8, 9, 23, 24])
def test_chunks_of_any_size_add_up_to_the_definition(tokens):
    query, key, value = (drawn(2, 3, tokens, dim, seed=dim) for dim in (5, 5, 7))
    level = drawn(2, 3, tokens, seed=9).mul(3).cummax(dim=-1).values
    decay = (level[..., None, :] - level[..., None]).exp()
    expected = (query @ key.mT * decay).tril() @ value
    for chunk in (1, 4, 8, 64):
        torch.testing.assert_close(causal_product(query, key, value, level=level, chunk=chunk), expected)


def test_written_out_derivative_is_that_of_the_sums():
    tensors = [drawn(2, 1, 11, dim, seed=seed).requires_grad_() for seed, dim in enumerate((3, 3, 2))]
    level = drawn(2, 1, 11, seed=9).cummax(dim=-1).values

    def product(query, key, value):
        return causal_product(query, key, value, level=level, chunk=4)

    assert torch.autograd.gradcheck(product, tensors, fast_mode=True)


def test_levels_far_apart_neither_overflow_nor_turn_into_nan():
    query, key, value = drawn(1, 1, 9, 3).abs(), drawn(1, 1, 9, 3, seed=1).abs(), drawn(1, 1, 9, 2, seed=2)
    level = torch.tensor([-1e300, -1e300, -5000.0, 0, 0, 3000, 3000, 3001, 1e5], dtype=torch.float64)
    tensors = [tensor.requires_grad_() for tensor in (query, key, value)]
    sums = causal_product(*tensors, level=level[None, None], chunk=4)
    sums.sum().backward()
    assert all(bool(tensor.grad.isfinite().all()) for tensor in tensors)
    torch.testing.assert_close(sums[0, 0, 5], (query[0, 0, 5] @ key[0, 0, 5]) * value[0, 0, 5])


def test_padded_values_are_not_counted_and_a_wrong_padding_is_refused():
    valid = torch.tensor([[True, False, True]])
    value = counted(torch.ones(1, 1, 3, 2), valid)
    assert value[0, 0].tolist() == [[1, 1, 1], [0, 0, 0], [1, 1, 1]]
    query = drawn(2, 3, 5, 7)
    with pytest.raises(ValueError, match=r"valid must be \(batch, key\) = \(2, 5\), but got \(2, 4\)"):
        linear(query, query, query, mask=padding(torch.ones(2, 4, dtype=torch.bool)))


def test_long_sums_do_not_overflow_in_float16():
    tokens = torch.full((1, 1, 9000, 4), 7.0, dtype=torch.float16)
    assert torch.equal(linear(tokens, tokens, tokens), tokens)
