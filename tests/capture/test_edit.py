"""A head silenced by hand and a head silenced by an edit give the same output, on every route."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from archaeology.capture import Attention, Edits, HeadEdit, HeadWatch, PatternEdit, intercepted

BATCH, HEAD, TOKEN, DIM = 3, 2, 5, 4
EMBED = HEAD * DIM


def _pattern(query, key):
    return (query @ key.mT / DIM**0.5).softmax(-1)


def _bmm(query, key, value):
    query, key, value = (part.reshape(BATCH * HEAD, TOKEN, DIM) for part in (query, key, value))
    return torch.bmm(_pattern(query, key), value).view(BATCH, HEAD, TOKEN, DIM)


ROUTES = {
    "sdpa": F.scaled_dot_product_attention,
    "matmul": lambda q, k, v: _pattern(q, k) @ v,
    "on the right": lambda q, k, v: (v.mT @ _pattern(q, k).mT).mT,
    "einsum": lambda q, k, v: torch.einsum("bhij,bhjd->bihd", _pattern(q, k), v).transpose(1, 2),
    "bmm": _bmm,
}


class Network(nn.Module):
    """Two layers of attention; `by_hand(layer, output)` may change what the heads answer."""

    num_heads = HEAD

    def __init__(self, attend, by_hand=None):
        super().__init__()
        torch.manual_seed(0)
        self.project = nn.ModuleList([nn.Linear(EMBED, 3 * EMBED) for _ in range(2)])
        self.attend, self.by_hand = attend, by_hand

    def forward(self, tokens):
        for layer, project in enumerate(self.project):
            parts = project(tokens).unflatten(-1, (3, HEAD, DIM)).permute(2, 0, 3, 1, 4)
            output = self.attend(*parts)
            if self.by_hand:
                output = self.by_hand(layer, output, parts[2])
            tokens = tokens + output.transpose(1, 2).flatten(2)
        return tokens


def _tokens():
    return torch.randn(BATCH, TOKEN, EMBED, generator=torch.Generator().manual_seed(1))


def _edited(attend, edit, **options):
    model = Network(attend)
    with intercepted(model, None, edit=edit, **options):
        return model(_tokens())


@pytest.mark.parametrize("materialise", [False, True])
@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("name", ROUTES)
def test_each_example_loses_the_head_it_was_told(name, replaced, materialise):
    head = torch.tensor([1, -1, 0])
    instead = torch.randn(HEAD, TOKEN, DIM) if replaced else None

    def by_hand(layer, output, value):
        output = output.clone()
        if layer == 1:
            for example, number in enumerate([1, None, 0]):
                if number is not None:
                    output[example, number] = 0 if instead is None else instead[number]
        return output

    expected = Network(ROUTES[name], by_hand)(_tokens())
    ours = _edited(ROUTES[name], HeadEdit(1, head, instead), materialise=materialise)
    torch.testing.assert_close(ours, expected)
    untouched = Network(ROUTES[name])(_tokens())
    assert not torch.allclose(ours[0], untouched[0])
    if not materialise:
        assert torch.equal(ours[1], untouched[1])


@pytest.mark.parametrize("name", ROUTES)
def test_a_pattern_is_replaced_and_reported(name):
    pattern = torch.randn(BATCH, HEAD, TOKEN, TOKEN).softmax(-1)

    def by_hand(layer, output, value):
        return pattern @ value if layer == 0 else output

    expected = Network(ROUTES[name], by_hand)(_tokens())
    torch.testing.assert_close(_edited(ROUTES[name], PatternEdit(0, pattern)), expected)
    events: list[Attention] = []
    model = Network(ROUTES[name])
    with intercepted(model, events.append, edit=PatternEdit(0, pattern)):
        model(_tokens())
    torch.testing.assert_close(events[0].pattern(), pattern)
    torch.testing.assert_close(events[0].output, pattern @ events[0].value)


@pytest.mark.parametrize("need_weights", [True, False])
def test_multi_head_attention_is_edited_too(need_weights):
    torch.manual_seed(0)
    model = nn.MultiheadAttention(EMBED, HEAD, batch_first=True)
    tokens = _tokens()
    events: list[Attention] = []
    with intercepted(model, events.append, edit=HeadEdit(0, torch.tensor([0, 1, -1]))):
        output, _ = model(tokens, tokens, tokens, need_weights=need_weights)
    heads = events[0].pattern() @ events[0].value
    heads[0, 0] = heads[1, 1] = 0
    torch.testing.assert_close(events[0].output, heads)
    torch.testing.assert_close(output, model.out_proj(heads.transpose(1, 2).flatten(2)))


@pytest.mark.parametrize("windowed", [False, True])
def test_all_windows_of_an_example_are_edited(windowed):
    class Windows(nn.Module):
        def forward(self, tokens):
            parts = tokens.view(2 * 3, 4, HEAD, DIM).transpose(1, 2)
            output = F.scaled_dot_product_attention(parts, parts, parts)
            return output.view(2, 3, HEAD, 4, DIM)

    tokens = torch.randn(2, 12, EMBED)
    expected = Windows()(tokens)
    instead = torch.randn(*([3] if windowed else []), HEAD, 4, DIM)
    expected[1, :, 1] = instead[:, 1] if windowed else instead[1]
    model = Windows()
    with intercepted(model, None, edit=HeadEdit(0, torch.tensor([-1, 1]), instead)):
        output = model(tokens)
    torch.testing.assert_close(output, expected)


def test_a_sum_of_product_and_more_loses_only_the_product():
    class Adds(nn.Module):
        def forward(self, tokens):
            weights = (tokens @ tokens.mT).softmax(-1)
            return torch.baddbmm(tokens, weights, tokens, beta=0.5, alpha=2)

    model, tokens = Adds(), _tokens()
    with intercepted(model, None, edit=HeadEdit(0, torch.tensor([0, -1, -1]))):
        output = model(tokens)
    torch.testing.assert_close(output[0], 0.5 * tokens[0])
    torch.testing.assert_close(output[1:], model(tokens)[1:])


def test_a_pattern_used_twice_is_silenced_twice_and_replaced_once():
    class Twice(nn.Module):
        def forward(self, tokens):
            weights = (tokens @ tokens.mT).softmax(-1)
            return weights @ tokens + weights @ (2 * tokens)

    model, tokens = Twice(), _tokens()
    instead = torch.randn(1, TOKEN, EMBED)
    with intercepted(model, None, edit=HeadEdit(0, torch.tensor([0, 0, -1]), instead)):
        output = model(tokens)
    torch.testing.assert_close(output[0], instead[0])
    torch.testing.assert_close(output[2], model(tokens)[2])


def test_gradients_pass_through_an_edit():
    tokens = _tokens().requires_grad_()
    model = Network(ROUTES["sdpa"])
    with intercepted(model, None, edit=HeadEdit(0, torch.tensor([1, 1, 1]))):
        model(tokens).sum().backward()
    assert tokens.grad is not None
    assert float(tokens.grad.abs().min()) > 0


@pytest.mark.parametrize("name", ROUTES)
def test_sets_of_heads_of_several_layers_answer_as_told_example_by_example(name):
    masks = torch.tensor([[[True, True], [False, True], [False, False]], [[True, False]] * 3])
    instead = torch.randn(BATCH, HEAD, TOKEN, DIM)

    def by_hand(layer, output, value):
        output = output.clone()
        for example in range(BATCH):
            for head in range(HEAD):
                if masks[layer, example, head]:
                    output[example, head] = instead[example, head] if layer == 0 else 0
        return output

    expected = Network(ROUTES[name], by_hand)(_tokens())
    ours = _edited(ROUTES[name], Edits((HeadEdit(1, masks[1]), HeadEdit(0, masks[0], instead))))
    torch.testing.assert_close(ours, expected)


def test_answers_of_some_examples_repeat_over_copies_of_them():
    heads, windows, copies = 2, 3, 4
    output = torch.randn(copies * 2 * windows, heads, 5, 7)
    instead = torch.randn(2 * windows, heads, 5, 7)  # of two images
    numbers = torch.arange(copies * 2) % 3 - 1
    edited = HeadEdit(0, numbers, instead).apply(output)
    for row in range(len(output)):
        for head in range(heads):
            chosen = int(numbers[row // windows]) == head
            assert torch.equal(edited[row, head], instead[row % 6, head] if chosen else output[row, head])


@pytest.mark.parametrize("needs", [True, False])
def test_a_watched_layer_answers_as_ever_and_has_a_gradient(needs):
    tokens = _tokens().requires_grad_(needs)
    watched = HeadWatch(1)
    model = Network(ROUTES["sdpa"])
    with intercepted(model, None, edit=watched):
        output = model(tokens)
    torch.testing.assert_close(output, Network(ROUTES["sdpa"])(tokens))
    (answer,) = watched.seen
    (gradient,) = torch.autograd.grad(output.square().sum(), answer)
    assert gradient.shape == answer.shape == (BATCH, HEAD, TOKEN, DIM)
    nudged = answer.detach().clone()
    nudged[2, 1, 3, 0] += 1e-2
    with intercepted(model, None, edit=HeadEdit(1, torch.ones(BATCH, HEAD, dtype=torch.bool), nudged)):
        rise = float((model(tokens).square().sum() - output.square().sum()).detach())
    assert rise == pytest.approx(float(gradient[2, 1, 3, 0]) * 1e-2, rel=0.05, abs=1e-3)


def test_two_edits_of_one_layer_are_one_too_many():
    none = torch.tensor([0, 0, 0])
    with pytest.raises(ValueError, match=r"one edit for each layer, but got edits of layers \[1, 1\]"):
        Edits((HeadEdit(1, none), HeadEdit(1, none)))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (HeadEdit(2, torch.tensor([0, 0, 0])), "got layer 2 while the last pass had 2, numbered from 0"),
        (HeadEdit(0, torch.tensor([0, 0])), "one number for each example, but got 2 numbers"),
        (HeadEdit(0, torch.zeros(0, dtype=torch.int64)), "one number for each example, but got 0 numbers"),
        (HeadEdit(0, torch.tensor([0, 2, 0])), r"must lie in -1..1 in layer 0, but got \[0, 2, 0\]"),
        (HeadEdit(0, torch.tensor([0, -2, 0])), r"must lie in -1..1 in layer 0"),
        (HeadEdit(0, torch.tensor([0, 0, 0]), torch.zeros(HEAD, TOKEN, 9)), "replacement must have shape"),
        (
            HeadEdit(0, torch.ones(3, 5, dtype=torch.bool)),
            "a column for each of the 2 heads of layer 0, but got 5",
        ),
        (Edits((HeadEdit(0, torch.tensor([0, 0, 0])), HeadEdit(7, torch.tensor([0, 0, 0])))), "got layer 7"),
        (PatternEdit(0, torch.ones(1, HEAD, TOKEN, TOKEN)), r"must have the shape \(3, 2, 5, 5\)"),
    ],
)
def test_edits_that_do_not_fit_say_so(edit, message):
    with pytest.raises(ValueError, match=message):
        _edited(ROUTES["sdpa"], edit)
