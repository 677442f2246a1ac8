"""Every way of writing softmax attention is seen, by tiny modules that write it out; what is not attention is not."""

import threading
import weakref
from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from archaeology.capture import Attention, PatternEdit, intercepted

BATCH, HEAD, TOKEN, DIM = 2, 3, 5, 4
EMBED = HEAD * DIM


def _softmax(query, key):
    return (query @ key.mT / sqrt(DIM)).softmax(-1)


def _causal():
    return torch.ones(TOKEN, TOKEN, dtype=torch.bool).tril()


def _allowed():
    return torch.arange(TOKEN)[:, None] != (torch.arange(TOKEN) + 2) % TOKEN


def _blocked(query, key):
    return ((query @ key.mT / sqrt(DIM)).masked_fill(~_allowed(), -torch.inf)).softmax(-1)


def _bmm(query, key, value):
    query, key, value = (part.reshape(BATCH * HEAD, TOKEN, DIM) for part in (query, key, value))
    weights = F.softmax(torch.bmm(query, key.transpose(1, 2)) / sqrt(DIM), dim=-1)
    return torch.bmm(weights, value).view(BATCH, HEAD, TOKEN, DIM)


def _baddbmm(query, key, value):
    query, key, value = (part.reshape(BATCH * HEAD, TOKEN, DIM) for part in (query, key, value))
    weights = torch.softmax(query @ key.mT / sqrt(DIM), -1)
    return torch.baddbmm(value, weights, value, beta=0.5, alpha=2).view(BATCH, HEAD, TOKEN, DIM)


def _grouped(query, key, value):
    return F.scaled_dot_product_attention(query, key[:, :1], value[:, :1], enable_gqa=True)


MIX = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.4, 0.1, 0.5]])


def _talking(query, key, value):
    weights = F.linear(_softmax(query, key).permute(0, 2, 3, 1), MIX.to(query)).permute(0, 3, 1, 2)
    return weights @ value


def _talking_pattern(query, key, value):
    return torch.einsum("gh,bhij->bgij", MIX, _softmax(query, key))


def _differential(query, key, value):
    weights = _softmax(query, key) - 0.3 * _softmax(key, query)
    return weights @ value


def _in_place(query, key, value):
    weights = query @ key.mT
    weights /= sqrt(DIM)
    weights = weights.softmax(-1)
    weights *= 2
    return weights @ value


def _product_of_patterns(query, key, value):
    return (_softmax(query, key) @ _softmax(key, query)) @ value


def _sdpa(**keywords):
    return lambda query, key, value: F.scaled_dot_product_attention(query, key, value, **keywords)


def _plain(query, key, value):
    return _softmax(query, key)


BIAS = torch.linspace(-2, 2, HEAD * TOKEN * TOKEN).view(HEAD, TOKEN, TOKEN)

# name: (attention as a model may write it, pattern as the definition says, route, rows sum to one)
ROUTES = {
    "sdpa": (_sdpa(), _plain, "sdpa", True),
    "sdpa causal": (
        _sdpa(is_causal=True),
        lambda q, k, v: (q @ k.mT / sqrt(DIM)).masked_fill(~_causal(), -torch.inf).softmax(-1),
        "sdpa",
        True,
    ),
    "sdpa boolean mask": (_sdpa(attn_mask=_allowed()), lambda q, k, v: _blocked(q, k), "sdpa", True),
    "sdpa float mask": (
        _sdpa(attn_mask=BIAS),
        lambda q, k, v: (q @ k.mT / sqrt(DIM) + BIAS).softmax(-1),
        "sdpa",
        True,
    ),
    "sdpa scale": (_sdpa(scale=0.9), lambda q, k, v: (q @ k.mT * 0.9).softmax(-1), "sdpa", True),
    "sdpa grouped": (_grouped, lambda q, k, v: _softmax(q, k[:, :1]), "sdpa", True),
    "matmul": (lambda q, k, v: torch.matmul(_softmax(q, k), v), _plain, "softmax", True),
    "operator": (lambda q, k, v: _softmax(q, k) @ v, _plain, "softmax", True),
    "on the right": (lambda q, k, v: (v.mT @ _softmax(q, k).mT).mT, _plain, "softmax", True),
    "on the right, over rows": (
        lambda q, k, v: (v.mT @ (k @ q.mT / sqrt(DIM)).softmax(-2)).mT,
        _plain,
        "softmax",
        True,
    ),
    "einsum": (
        lambda q, k, v: torch.einsum("bhij,bhjd->bhid", _softmax(q, k), v),
        _plain,
        "softmax",
        True,
    ),
    "einsum swapped": (
        lambda q, k, v: torch.einsum("bhjd,bhij->bhid", v, _softmax(q, k)),
        _plain,
        "softmax",
        True,
    ),
    "einsum list": (
        lambda q, k, v: torch.einsum("...ij,...jd->...id", [_softmax(q, k), v]),
        _plain,
        "softmax",
        True,
    ),
    "bmm": (_bmm, _plain, "softmax", True),
    "baddbmm": (_baddbmm, _plain, "softmax", True),
    "other dtype": (
        lambda q, k, v: F.softmax(q @ k.mT / sqrt(DIM), dim=-1, dtype=torch.float64).to(q.dtype) @ v,
        _plain,
        "softmax",
        True,
    ),
    "module and dropout": (
        lambda q, k, v: F.dropout(nn.Softmax(dim=-1)(q @ k.mT / sqrt(DIM)), 0.1, training=False) @ v,
        _plain,
        "softmax",
        True,
    ),
    "talking heads": (_talking, _talking_pattern, "softmax", False),
    "differential": (
        _differential,
        lambda q, k, v: _softmax(q, k) - 0.3 * _softmax(k, q),
        "softmax",
        False,
    ),
    "in place": (_in_place, lambda q, k, v: 2 * _softmax(q, k), "softmax", False),
    "product of patterns": (
        _product_of_patterns,
        lambda q, k, v: _softmax(q, k) @ _softmax(k, q),
        "softmax",
        False,
    ),
}


class Attends(nn.Module):
    """Projects to queries, keys and values, attends as told, and adds up."""

    num_heads = HEAD

    def __init__(self, attend):
        super().__init__()
        torch.manual_seed(0)
        self.project = nn.Linear(EMBED, 3 * EMBED)
        nn.init.normal_(self.project.weight)
        self.attend = attend

    def parts(self, tokens):
        return self.project(tokens).unflatten(-1, (3, HEAD, DIM)).permute(2, 0, 3, 1, 4)

    def forward(self, tokens):
        return self.attend(*self.parts(tokens)).transpose(1, 2).flatten(2)


class Network(nn.Module):
    """Two attentions under dotted paths, and a classifier with a softmax that nothing is multiplied by."""

    def __init__(self, attend):
        super().__init__()
        self.blocks = nn.ModuleList([Attends(attend), Attends(attend)])
        self.head = nn.Linear(EMBED, 7)

    def forward(self, tokens):
        for block in self.blocks:
            tokens = tokens + block(tokens)
        return self.head(tokens.mean(1)).softmax(-1)


def _tokens(seed=1):
    return torch.randn(BATCH, TOKEN, EMBED, generator=torch.Generator().manual_seed(seed))


def _events(model, tokens, **options):
    events: list[Attention] = []
    with intercepted(model, events.append, **options):
        output = model(tokens)
    return events, output


def _num_hooks(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize("name", ROUTES)
def test_route_is_seen_and_left_alone(name):
    attend, definition, route, normalised = ROUTES[name]
    model = Network(attend).eval()
    with torch.no_grad():
        plain = model(_tokens())
        events, output = _events(model, _tokens())
        assert torch.equal(output, plain)
        assert [event.index for event in events] == [0, 1]
        assert [event.module for event in events] == ["blocks.0", "blocks.1"]
        first = events[0]
        assert first.route == route
        assert first.kind == "token"
        assert first.normalised is normalised
        assert first.shape == (BATCH, HEAD, TOKEN, TOKEN)
        parts = model.blocks[0].parts(_tokens())
        expected = definition(*parts)
        torch.testing.assert_close(first.pattern(), expected)
        torch.testing.assert_close(first.pattern(torch.tensor([4, 1])), expected[:, :, [4, 1]])
        torch.testing.assert_close(first.pattern(slice(0, 2)), expected[:, :, :2])
        torch.testing.assert_close(first.pattern() @ first.value, first.output)
        assert float(first.pattern().amax(-1).mean()) > 2 / TOKEN  # far from uniform, or this proves little


@pytest.mark.parametrize("name", ROUTES)
def test_materialised_gives_the_same_output_and_the_right_gradient(name):
    attend, _, _, _ = ROUTES[name]
    model = Network(attend).eval().double()
    tokens = _tokens().double()
    plain = model(tokens)
    events, output = _events(model, tokens, materialise=True)
    torch.testing.assert_close(output, plain)
    pattern = events[1].pattern()
    (gradient,) = torch.autograd.grad(output[:, 3].sum(), pattern)
    # Against finite differences: the pattern of the last layer, moved by hand, with everything after it redone.
    for where in [(0, 0, 0, 0), (1, 2, 4, 3), (0, 1, 2, 4)]:
        step = torch.zeros_like(pattern)
        step[where] = 1e-5
        ends = []
        for moved in (pattern.detach() + step, pattern.detach() - step):
            with intercepted(model, None, edit=PatternEdit(1, moved)):
                ends.append(model(tokens)[:, 3].sum())
        torch.testing.assert_close(gradient[where], (ends[0] - ends[1]) / 2e-5, atol=1e-7, rtol=1e-4)


def test_graph_starts_at_the_pattern_where_nothing_before_needs_one():
    model = Network(ROUTES["sdpa"][0]).requires_grad_(False)
    events, output = _events(model, _tokens(), materialise=True)
    gradients = torch.autograd.grad(output[:, 0].sum(), [event.pattern() for event in events])
    assert all(float(gradient.abs().max()) > 0 for gradient in gradients)


def test_a_classifiers_softmax_is_no_attention():
    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.embeddings = nn.Parameter(torch.randn(7, 4))

        def forward(self, images):
            shares = images.flatten(1)[:, :7].softmax(-1)
            return shares @ self.embeddings, shares @ torch.ones(7, 3), torch.einsum("bc->b", shares)

    events, _ = _events(Classifier(), torch.randn(BATCH, 3, 4, 4))
    assert events == []


def test_mixing_by_a_weight_is_followed_by_matmul_and_einsum():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Parameter(torch.randn(HEAD, HEAD))

        def forward(self, tokens):
            weights = torch.randn(BATCH, HEAD, TOKEN, TOKEN, generator=torch.Generator().manual_seed(0))
            weights = torch.einsum("bhij,hg->bgij", weights.softmax(-1), self.mix)
            weights = (weights.permute(0, 2, 3, 1) @ self.mix).permute(0, 3, 1, 2)
            self.applied = weights
            return weights @ tokens.view(BATCH, TOKEN, HEAD, DIM).transpose(1, 2)

    model = Mixed()
    with torch.no_grad():
        events, _ = _events(model, _tokens())
    assert len(events) == 1
    torch.testing.assert_close(events[0].pattern(), model.applied)
    assert not events[0].normalised


def test_a_pattern_used_twice_is_one_attention():
    class Twice(nn.Module):
        def forward(self, tokens):
            weights = (tokens @ tokens.mT).softmax(-1)
            return weights @ tokens + weights @ tokens.flip(-1)

    tokens = _tokens().requires_grad_()
    events, output = _events(Twice(), tokens, materialise=True)
    assert len(events) == 1
    pattern = events[0].pattern()
    (gradient,) = torch.autograd.grad(output.sum(), pattern)
    expected = (tokens + tokens.flip(-1)).sum(-1)[:, None, None, :].expand_as(gradient)
    torch.testing.assert_close(gradient, expected)


KINDS = {
    "pool": (
        lambda q, k, v: F.scaled_dot_product_attention(q[:, :, :1], k, v).expand_as(v),
        (BATCH, HEAD, 1, TOKEN),
    ),
    "cross": (
        lambda q, k, v: F.scaled_dot_product_attention(q.repeat(1, 1, 3, 1), k, v)[:, :, :TOKEN],
        (BATCH, HEAD, 3 * TOKEN, TOKEN),
    ),
    "channel": (
        lambda q, k, v: ((q.mT @ k).softmax(-1) @ v.mT).mT,
        (BATCH, HEAD, DIM, DIM),
    ),
    "channel on the right": (
        lambda q, k, v: v @ (q.mT @ k).softmax(-1).mT,
        (BATCH, HEAD, DIM, DIM),
    ),
    "channel fused": (
        lambda q, k, v: F.scaled_dot_product_attention(q.mT, k.mT, v.mT).mT,
        (BATCH, HEAD, DIM, DIM),
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_are_told_apart(name):
    attend, shape = KINDS[name]
    events, _ = _events(Network(attend).eval(), _tokens())
    assert [event.kind for event in events] == [name.split()[0]] * 2
    assert events[0].shape == shape


@pytest.mark.parametrize("windows_apart", [False, True])
def test_windows_are_told_from_tokens(windows_apart):
    class Windows(nn.Module):
        num_heads = HEAD

        def forward(self, tokens):
            parts = tokens.view(BATCH, 2, 6, HEAD, DIM).transpose(2, 3)
            parts = parts if windows_apart else parts.flatten(0, 1)
            return F.scaled_dot_product_attention(parts, parts, parts).transpose(-2, -3).reshape_as(tokens)

    tokens = torch.randn(BATCH, 12, EMBED)
    events, _ = _events(Windows(), tokens)
    assert (events[0].kind, events[0].shape) == ("window", (2 * BATCH, HEAD, 6, 6))


def _layer():
    torch.manual_seed(0)
    return nn.TransformerEncoderLayer(EMBED, HEAD, 16, batch_first=True)


@pytest.mark.parametrize("padded", [False, True])
def test_native_fast_path_steps_aside_and_every_layer_is_seen(padded):
    model = nn.TransformerEncoder(_layer(), 2, enable_nested_tensor=False).eval()
    padding = torch.zeros(BATCH, TOKEN, dtype=torch.bool)
    padding[1, 3:] = padded
    events: list[Attention] = []
    with torch.no_grad():
        fast = model(_tokens(), src_key_padding_mask=padding)
        with intercepted(model, events.append):
            seen = model(_tokens(), src_key_padding_mask=padding)
    torch.testing.assert_close(seen, fast, atol=1e-5, rtol=1e-5)
    assert [event.module for event in events] == ["layers.0.self_attn", "layers.1.self_attn"]
    attention = model.layers[0].self_attn
    _, expected = attention(
        *[_tokens()] * 3, key_padding_mask=padding, need_weights=True, average_attn_weights=False
    )
    torch.testing.assert_close(events[0].pattern(), expected)
    assert (float(events[0].pattern()[1, ..., 3:].max()) == 0) is padded


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
def test_multi_head_attention_with_and_without_weights(need_weights, batch_first):
    torch.manual_seed(0)
    model = nn.MultiheadAttention(EMBED, HEAD, batch_first=batch_first)
    tokens = _tokens() if batch_first else _tokens().transpose(0, 1)
    plain, expected = model(tokens, tokens, tokens, need_weights=True, average_attn_weights=False)
    events: list[Attention] = []
    with intercepted(model, events.append):
        output, weights = model(tokens, tokens, tokens, need_weights=need_weights)
    assert torch.equal(output, model(tokens, tokens, tokens, need_weights=need_weights)[0])
    assert (weights is None) is not need_weights
    assert len(events) == 1
    assert events[0].route == ("softmax" if need_weights else "sdpa")
    assert (events[0].kind, events[0].shape) == ("token", (BATCH, HEAD, TOKEN, TOKEN))
    torch.testing.assert_close(events[0].pattern(), expected)
    torch.testing.assert_close(output, plain)


def test_multi_head_attention_with_keywords_and_other_keys():
    torch.manual_seed(0)
    model = nn.MultiheadAttention(EMBED, HEAD, kdim=6, vdim=7, add_bias_kv=True, add_zero_attn=True)
    query, key, value = torch.randn(5, 2, EMBED), torch.randn(8, 2, 6), torch.randn(8, 2, 7)
    events: list[Attention] = []
    with intercepted(model, events.append):
        model(query=query, key=key, value=value, need_weights=False)
    _, expected = model(query, key, value, average_attn_weights=False)
    assert events[0].kind == "pool"  # five queries of ten keys
    torch.testing.assert_close(events[0].pattern(), expected)


def test_half_precision_autocast_is_left_alone():
    for name in ("sdpa", "matmul"):
        model = Network(ROUTES[name][0]).eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            plain = model(_tokens())
            events, output = _events(model, _tokens())
            assert torch.equal(output, plain)
            explicit, materialised = _events(model, _tokens(), materialise=True)
        assert events[0].pattern().dtype == torch.float32
        torch.testing.assert_close(materialised, plain, atol=2e-2, rtol=0)
        torch.testing.assert_close(explicit[0].pattern(), events[0].pattern(), atol=1e-2, rtol=0)


def test_training_dropout_and_random_state_are_those_of_the_model():
    model = Network(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=0.5)).train()
    torch.manual_seed(5)
    plain = model(_tokens())
    state = torch.get_rng_state()
    torch.manual_seed(5)
    events, output = _events(model, _tokens())
    assert torch.equal(output, plain)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(events[0].pattern().sum(-1), torch.ones(BATCH, HEAD, TOKEN))


@pytest.mark.slow
def test_exported_graphs_are_seen():
    model = Network(ROUTES["matmul"][0]).eval()
    exported = torch.export.export(model, (_tokens(),)).module()
    events, _ = _events(exported, _tokens())
    expected, _ = _events(model, _tokens())
    torch.testing.assert_close(events[0].pattern(), expected[0].pattern())
    fused = torch.export.export(Network(ROUTES["sdpa"][0]).eval(), (_tokens(),)).module()
    assert [event.route for event in _events(fused, _tokens())[0]] == ["sdpa", "sdpa"]


def test_numbers_restart_with_each_pass_and_parts_count_for_themselves():
    model = Network(ROUTES["sdpa"][0])
    events: list[Attention] = []
    with intercepted(model, events.append):
        model(_tokens())
        model(_tokens())
        model.blocks[1](_tokens())
        F.scaled_dot_product_attention(*[torch.randn(1, 1, 2, 3)] * 3)  # not the model's
    assert [event.index for event in events] == [0, 1, 0, 1, 0]
    assert events[-1].module == "blocks.1"
    with intercepted(model.blocks[1], events.append):
        model(_tokens())
    assert (len(events), events[-1].module, events[-1].index) == (6, "", 0)


class CrashError(Exception):
    """Not one of ours."""


class Crashing(nn.Module):
    def forward(self, tokens):
        raise CrashError


def test_nothing_is_left_after_a_crash_in_the_model_or_the_callback():
    model = Network(ROUTES["sdpa"][0])

    def refuse(event):
        raise CrashError

    with pytest.raises(CrashError), intercepted(model, refuse):
        model(_tokens())
    assert _num_hooks(model) == 0
    model.head = Crashing()
    events: list[Attention] = []
    with pytest.raises(CrashError), intercepted(model, events.append):
        model(_tokens())
    assert _num_hooks(model) == 0
    assert len(events) == 2
    model.blocks[0](_tokens())
    assert len(events) == 2


def test_a_crash_that_the_caller_mends_leaves_paths_right():
    model = Network(ROUTES["sdpa"][0])
    head, model.head = model.head, Crashing()
    events: list[Attention] = []
    with intercepted(model, events.append):
        with pytest.raises(CrashError):
            model(_tokens())
        model.head = head
        model(_tokens())
    assert [(event.index, event.module) for event in events] == [(0, "blocks.0"), (1, "blocks.1")] * 2


def test_nothing_is_kept_alive():
    for name in ("sdpa", "matmul"):
        model = Network(ROUTES[name][0])
        values: list[weakref.ref] = []

        def look(event, values=values):
            values.append(weakref.ref(event))
            values.append(weakref.ref(event.value))

        with torch.no_grad(), intercepted(model, look):
            model(_tokens())
            assert [value() for value in values] == [None] * 4


def test_another_thread_is_not_looked_at():
    inside, finish = threading.Event(), threading.Event()

    def wait(query, key, value):
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            assert finish.wait(10)
        return F.scaled_dot_product_attention(query, key, value)

    model = Network(wait)
    events: list[Attention] = []
    with intercepted(model, events.append):
        other = threading.Thread(target=model, args=(_tokens(),))
        other.start()
        assert inside.wait(10)
        F.scaled_dot_product_attention(*[torch.randn(1, 1, 2, 3)] * 3)  # the model runs, but not here
        assert events == []
        model(_tokens())
        finish.set()
        other.join()
    assert [(event.index, event.module) for event in events] == [(0, "blocks.0"), (1, "blocks.1")]


def test_blocks_can_be_nested_and_callbacks_may_compute_attention():
    model = Network(ROUTES["matmul"][0])
    outer: list[Attention] = []
    inner: list[Attention] = []

    def look(event):
        inner.append(event)
        weights = (event.value @ event.value.mT).softmax(-1)
        weights @ event.value

    with intercepted(model, outer.append), intercepted(model, look):
        model(_tokens())
    assert [event.index for event in outer] == [0, 1]
    torch.testing.assert_close(outer[1].pattern(), inner[1].pattern())


def test_gradients_of_the_model_are_the_same_while_reading():
    for name in ("sdpa", "matmul", "bmm", "einsum"):
        model = Network(ROUTES[name][0])
        model(_tokens())[:, 0].sum().backward()
        expected = [parameter.grad.clone() for parameter in model.parameters()]
        model.zero_grad()
        with intercepted(model, lambda event: event.pattern()):
            model(_tokens())[:, 0].sum().backward()
        for parameter, gradient in zip(model.parameters(), expected, strict=True):
            assert torch.equal(parameter.grad, gradient)


def test_heads_are_known_even_where_only_the_function_call_tells_them():
    torch.manual_seed(0)
    inner = nn.MultiheadAttention(EMBED, HEAD)

    class Calls(nn.Module):
        def forward(self, tokens):
            output, _ = F.multi_head_attention_forward(
                tokens, tokens, tokens, EMBED, HEAD, inner.in_proj_weight, inner.in_proj_bias,
                None, None, False, 0.0, inner.out_proj.weight, inner.out_proj.bias,
            )  # fmt: skip
            return output

    tokens = _tokens().transpose(0, 1)
    events, _ = _events(Calls(), tokens)
    _, expected = inner(tokens, tokens, tokens, average_attn_weights=False)
    torch.testing.assert_close(events[0].pattern(), expected)
