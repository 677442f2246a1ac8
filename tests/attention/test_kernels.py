"""Every kernel gives the answer of the definition, for every mask that it takes, or says that it cannot."""

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archaeology.attention import attend, band, band_of, causal, fixed, global_tokens, padding, strided
from archaeology.attention.kernels import kernels

QUERIES, KEYS = 37, 53
VALID = torch.rand(2, KEYS, generator=torch.Generator().manual_seed(0)) > 0.3
VALID[1, :20] = False
DENSE = torch.rand(2, 6, QUERIES, KEYS, generator=torch.Generator().manual_seed(1)) > 0.7
DENSE[0, 0, 3] = False

MASKS = {
    "none": None,
    "causal": causal(),
    "band": band(5),
    "lopsided band": band_of(7, 2),
    "causal band": band(5) & causal(),
    "padded band": band(2) & padding(VALID),
    "padded": padding(VALID),
    "global": (band(3) | global_tokens(4)) & causal() & padding(VALID),
    "future": ~causal(),
    "dense": DENSE,
}


def tensors(dtype=torch.float64, key_heads=6, requires_grad=False):
    generator = torch.Generator().manual_seed(2)
    shapes = [(2, 6, QUERIES, 8), (2, key_heads, KEYS, 8), (2, key_heads, KEYS, 5)]
    made = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    return [tensor.requires_grad_(requires_grad) for tensor in made]


def answer(kernel, inputs, **options):
    """What the kernel says; None if it says that it cannot."""
    try:
        return attend(*inputs, kernel=kernel, **options)
    except ValueError as error:
        assert "cannot" in str(error) and kernel in str(error)
        return None


@pytest.mark.parametrize("kernel", [name for name in kernels if name != "reference"] + ["auto"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("offset", [0, KEYS - QUERIES, 100])
@pytest.mark.parametrize("key_heads", [6, 2])
def test_kernels_agree_with_the_definition(kernel, mask, offset, key_heads):
    if kernel == "flex":
        pytest.importorskip("torch.nn.attention.flex_attention")
    inputs = tensors(key_heads=key_heads)
    options = {"mask": MASKS[mask], "query_offset": offset, "scale": 0.5}
    ours = answer(kernel, inputs, **options)
    if ours is None:
        return
    torch.testing.assert_close(ours, attend(*inputs, kernel="reference", **options), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("kernel", [name for name in kernels if name != "reference"] + ["auto"])
@pytest.mark.parametrize("mask", MASKS)
def test_gradients_of_kernels_agree_with_the_definition(kernel, mask):
    grads = []
    for name in (kernel, "reference"):
        inputs = tensors(requires_grad=True)
        bias = torch.linspace(-1, 1, QUERIES * KEYS, dtype=torch.float64).reshape(QUERIES, KEYS)
        bias.requires_grad_()
        result = answer(name, inputs, mask=MASKS[mask], bias=bias)
        if result is None:
            return
        result.sin().sum().backward()
        grads.append([tensor.grad for tensor in (*inputs, bias)])
    for ours, definition in zip(*grads, strict=True):
        torch.testing.assert_close(ours, definition, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("kernel", [*kernels, "auto"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mask", ["none", "causal", "band", "global"])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_half_precision_stays_near_the_definition(kernel, dtype, mask, requires_grad):
    inputs = tensors(dtype, requires_grad=requires_grad)
    ours = answer(kernel, inputs, mask=MASKS[mask])
    if ours is None:
        return
    exact = attend(*(tensor.double() for tensor in inputs), mask=MASKS[mask], kernel="reference")
    assert ours.dtype == dtype
    torch.testing.assert_close(ours.double(), exact, atol=3e-2, rtol=3e-2)


@pytest.mark.parametrize("kernel", [*kernels, "auto"])
@pytest.mark.parametrize("mask", ["none", "band", "global"])
def test_dropout_drops_weights_after_the_softmax_and_keeps_the_mean(kernel, mask):
    generator = torch.Generator().manual_seed(3)
    query, key = (torch.randn(1, 64, 23, 4, generator=generator) for _ in range(2))
    query, key, value = query[:, :1].expand_as(query), key[:, :1].expand_as(key), torch.ones(1, 64, 23, 3)
    torch.manual_seed(0)
    mask = MASKS[mask] if mask != "global" else band(3) | global_tokens(4)
    dropped = answer(kernel, (query, key, value), mask=mask, dropout=0.4)
    if dropped is None:
        return
    assert float(dropped.std()) > 0.1  # sums of what is left differ
    torch.testing.assert_close(float(dropped.mean()), 1.0, atol=0.05, rtol=0.0)


@pytest.mark.parametrize("kernel", [*kernels, "auto"])
def test_bias_is_added_to_the_scores(kernel):
    inputs = tensors()
    bias = torch.zeros(QUERIES, KEYS, dtype=torch.float64)
    bias[:, 7] = 1e3  # everybody must look at key 7
    ours = answer(kernel, inputs, bias=bias)
    if ours is not None:
        torch.testing.assert_close(ours, inputs[2][:, :, 7:8].expand_as(ours), atol=1e-9, rtol=0)


def test_bias_of_minus_infinity_forbids():
    inputs = tensors()
    bias = torch.zeros(1, 1, QUERIES, KEYS, dtype=torch.float64)
    bias[:, :, :, 10:] = float("-inf")
    bias[:, :, 5] = float("-inf")
    for kernel in ("reference", "fused", "matmul"):
        ours = attend(*inputs, bias=bias, kernel=kernel)
        allowed = (bias == 0).expand(1, 1, QUERIES, KEYS)
        torch.testing.assert_close(ours, attend(*inputs, mask=allowed, kernel="reference"))
        assert bool((ours[:, :, 5] == 0).all())


def test_scores_are_scaled_by_the_square_root_of_the_dimension():
    query, key, value = tensors()
    torch.testing.assert_close(attend(query, key, value), attend(query, key, value, scale=8**-0.5))


@pytest.mark.parametrize(
    ("shapes", "complaint"),
    [
        (
            ((2, 5, 8), (2, 3, 5, 8), (2, 3, 5, 8)),
            r"must be \(batch, head, token, dim\), but got query \(2, 5, 8\)",
        ),
        (
            ((2, 3, 5, 8), (2, 3, 5, 8), (2, 3, 6, 8)),
            "key and value must have the same batch, heads and tokens",
        ),
        (((2, 3, 5, 7), (2, 3, 5, 8), (2, 3, 5, 8)), "query and key must have the same batch and dim"),
        (((2, 3, 5, 8), (2, 2, 5, 8), (2, 2, 5, 8)), "heads of the keys must divide those of the queries"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes, complaint):
    with pytest.raises(ValueError, match=complaint):
        inspect.unwrap(attend)(*(torch.zeros(shape) for shape in shapes))  # without the checks of the tests


def test_masks_that_do_not_fit_are_refused():
    inputs = tensors()
    with pytest.raises(ValueError, match=r"mask must be .* = \(2, 6, 37, 53\).*but got \(1, 1, 53, 37\)"):
        attend(*inputs, mask=torch.ones(KEYS, QUERIES, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"bias must be .* = \(2, 6, 37, 53\).*but got \(3, 6, 37, 53\)"):
        attend(*inputs, bias=torch.zeros(3, 6, QUERIES, KEYS, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"valid must be \(batch, key\) = \(2, 53\), but got \(2, 37\)"):
        attend(*inputs, mask=padding(torch.ones(2, QUERIES, dtype=torch.bool)))
    with pytest.raises(TypeError, match=r"mask must be a boolean tensor"):
        attend(*inputs, mask=torch.zeros(QUERIES, KEYS))
    with pytest.raises(TypeError, match=r"bias must be a floating tensor.*goes into mask"):
        attend(*inputs, bias=torch.ones(QUERIES, KEYS, dtype=torch.bool))


def test_other_nonsense_is_refused():
    inputs = tensors()
    with pytest.raises(ValueError, match=r"dropout must be a share in \[0, 1\], but got 1.5"):
        attend(*inputs, dropout=1.5)
    with pytest.raises(ValueError, match="query_offset must be 0 or more, but got -1"):
        attend(*inputs, query_offset=-1)
    with pytest.raises(ValueError, match="No attention kernel is called 'fusd'; did you mean 'fused'"):
        attend(*inputs, kernel="fusd")
    with pytest.raises(
        TypeError, match=r"must have one dtype, but got torch\.float64, torch\.float64, torch\.float32"
    ):
        attend(*inputs[:2], inputs[2].float())


@pytest.mark.parametrize("mask", ["none", "causal", "band", "global", "padded"])
def test_chunks_that_go_on_after_one_another_equal_the_whole(mask):
    """Caching, chunked prefill and causal alignment are one thing: the position of the first query."""
    query, key, value = tensors()
    query = torch.cat([query, query], dim=2)[:, :, :KEYS]
    whole = attend(query, key, value, mask=MASKS[mask])
    parts = [
        attend(query[:, :, first:last], key, value, mask=MASKS[mask], query_offset=first)
        for first, last in ((0, 11), (11, 12), (12, KEYS))
    ]
    torch.testing.assert_close(torch.cat(parts, dim=2), whole, atol=1e-9, rtol=1e-9)


COMPOSITIONS = [
    band(37),
    band(30) & causal(),
    band(20) | global_tokens(5),
    strided(17) & causal(),
    fixed(32, 3),
    ~band(50) & causal(),
    band(7) | strided(64),
]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(COMPOSITIONS),
    st.booleans(),
    st.integers(1, 600),
    st.integers(1, 600),
    st.integers(0, 200),
    st.sampled_from([1, 2, 3]),
)
def test_whatever_is_chosen_gives_the_answer_of_the_definition(mask, is_padded, queries, keys, offset, group):
    generator = torch.Generator().manual_seed(queries * keys + offset)
    shapes = [(2, 6, queries, 8), (2, 6 // group, keys, 8), (2, 6 // group, keys, 5)]
    inputs = [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]
    mask = mask & padding(torch.rand(2, keys, generator=generator) > 0.3) if is_padded else mask
    answers = [attend(*inputs, mask=mask, query_offset=offset, kernel=name) for name in ("auto", "reference")]
    torch.testing.assert_close(*answers, atol=1e-4, rtol=1e-4)
    gradients = [torch.autograd.grad(answer.sin().sum(), inputs) for answer in answers]
    for ours, definition in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, definition, atol=1e-3, rtol=1e-3)
