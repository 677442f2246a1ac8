"""Our own mechanisms are seen whole, whatever they do inside: windows, hashes or random features."""

from typing import Any

import pytest
import torch
from torch import nn

from archaeology.attention import MultiHeadAttention, causal, mechanisms
from archaeology.capture.attention import Attention
from archaeology.capture.edit import HeadEdit
from archaeology.capture.interceptor import intercepted

GRID = (3, 5)
TOKENS = torch.randn(2, 15, 12, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    """Two layers, so that numbers and paths can be told apart."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = MultiHeadAttention(12, 3, num_tokens=15, grid=GRID, **options)
        self.second = MultiHeadAttention(12, 3, num_tokens=15, grid=GRID, **options)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(tokens))


def seen(model: nn.Module, **options: Any) -> tuple[list[Attention], torch.Tensor]:
    events: list[Attention] = []
    with intercepted(model, events.append, **options):
        output = model(TOKENS)
    return events, output


@pytest.mark.parametrize("name", mechanisms.names())
def test_every_mechanism_is_seen_with_the_pattern_that_it_implies(name: str) -> None:
    model = Network(mechanism=name).eval()
    events, output = seen(model)
    assert torch.equal(output, model(TOKENS))  # reading changes nothing
    assert [(event.index, event.module, event.route) for event in events] == [
        (0, "first", "mechanism"),
        (1, "second", "mechanism"),
    ]
    for event in events:
        assert event.kind == "token" and event.shape == (2, 3, 15, 15)
        pattern = event.pattern()
        torch.testing.assert_close(pattern @ event.value, event.output, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(event.pattern(torch.tensor([4, 9])), pattern[:, :, [4, 9]])
        torch.testing.assert_close(event.pattern(slice(3, 5)), pattern[:, :, 3:5])


@pytest.mark.parametrize("name", mechanisms.names())
def test_gradients_reach_the_pattern(name: str) -> None:
    model = Network(mechanism=name).eval()
    patterns: list[torch.Tensor] = []

    def keep(event: Attention) -> None:
        patterns.append(event.pattern())
        patterns[-1].retain_grad()

    with intercepted(model, keep, materialise=True):
        output = model(TOKENS)
    torch.testing.assert_close(output, model(TOKENS), atol=1e-5, rtol=1e-4)
    output[:, 0].sum().backward()
    assert all(pattern.grad is not None and bool(pattern.grad.isfinite().all()) for pattern in patterns)


def test_heads_that_share_keys_have_a_pattern_each() -> None:
    model = Network(num_key_heads=1, mask=causal()).eval()
    events, _ = seen(model)
    pattern = events[0].pattern()
    assert pattern.shape == (2, 3, 15, 15) and bool((pattern.triu(1) == 0).all())
    torch.testing.assert_close(pattern @ events[0].value, events[0].output, atol=1e-6, rtol=1e-5)


def test_an_edit_silences_a_head() -> None:
    model = Network().eval()
    events, output = seen(model, edit=HeadEdit(0, torch.tensor([1, -1])))
    answer = events[0].output
    assert bool((answer[0, 1] == 0).all()) and bool((answer[1, 1] != 0).any())
    assert not torch.equal(output[0], model(TOKENS)[0]) and torch.equal(output[1], model(TOKENS)[1])


def test_a_mechanism_can_be_the_whole_model() -> None:
    mechanism = mechanisms.get("softmax")()
    heads = TOKENS.reshape(2, 15, 3, 4).transpose(1, 2)
    events: list[Attention] = []
    with intercepted(mechanism, events.append):
        mechanism(heads, heads, heads)
    assert len(events) == 1 and events[0].shape == (2, 3, 15, 15)


class Decoder(nn.Module):
    """Looks at its own tokens, then at as many of somebody else."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attn = MultiHeadAttention(12, 3)
        self.cross = MultiHeadAttention(12, 3, context_dim=12)

    def forward(self, tokens: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return self.cross(self.attn(tokens), context)


@pytest.mark.parametrize("keys", [15, 7, 20])
@pytest.mark.parametrize("queries", [15, 3])
def test_cross_attention_is_told_by_what_the_layer_is_not_by_its_shape(queries: int, keys: int) -> None:
    events: list[Attention] = []
    model = Decoder().eval()
    context = torch.randn(2, keys, 12, generator=torch.Generator().manual_seed(1))
    with intercepted(model, events.append):
        model(TOKENS[:, :queries], context)
    assert [(event.module, event.kind) for event in events] == [("attn", "token"), ("cross", "cross")]
    assert events[1].shape == (2, 3, queries, keys)
    with intercepted(model.cross, events.append):
        model.cross(TOKENS, context)
    assert (events[2].module, events[2].kind) == ("", "cross")


def test_half_precision_gives_patterns_in_float32() -> None:
    model = Network().to(torch.bfloat16).eval()
    kept: list[torch.Tensor] = []
    with intercepted(model, lambda event: kept.append(event.pattern())), torch.no_grad():
        model(TOKENS.to(torch.bfloat16))
    assert kept[0].dtype == torch.float32
    torch.testing.assert_close(kept[0].sum(dim=-1), torch.ones(2, 3, 15))
