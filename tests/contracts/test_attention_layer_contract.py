"""What every registered whole layer of attention must do; a new one is found here by itself."""

import pytest
import torch

from archaeology.attention.build import attention_layer
from archaeology.attention.layers import Layer, layers
from archaeology.attention.mechanism import LayerShape
from archaeology.attention.rotary import Rotary

BATCH, GRID = 3, (3, 5)
SHAPE = LayerShape(num_heads=2, head_dim=7, num_tokens=15, grid=GRID)

every_layer = pytest.mark.parametrize("name", layers.names())


def built(name: str) -> Layer:
    torch.manual_seed(0)
    layer = layers.get(name).build(SHAPE).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return layer.eval()


def tokens() -> torch.Tensor:
    return torch.randn(BATCH, 15, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@every_layer
def test_tokens_keep_their_shape_and_dtype_and_the_answer_is_the_same_twice(name: str) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        layer = built(name).to(dtype)
        answer = layer(tokens().to(dtype))
        assert answer.shape == (BATCH, 15, 14) and answer.dtype == dtype and bool(answer.isfinite().all())
        assert torch.equal(answer, layer(tokens().to(dtype)))


@every_layer
def test_every_example_alone_equals_the_example_in_the_batch(name: str) -> None:
    layer, whole = built(name), built(name)(tokens())
    for i in range(BATCH):
        torch.testing.assert_close(layer(tokens()[i : i + 1]), whole[i : i + 1], atol=1e-12, rtol=1e-9)


@every_layer
def test_gradients_against_finite_differences(name: str) -> None:
    assert torch.autograd.gradcheck(built(name), tokens()[:1].requires_grad_(), fast_mode=True)


@every_layer
def test_pattern_has_rows_that_sum_to_one_and_can_be_asked_for_in_part(name: str) -> None:
    layer = built(name)
    before = layer(tokens())
    pattern = layer.pattern(tokens())
    assert pattern.shape == (BATCH, 2, 15, 15)
    torch.testing.assert_close(pattern.sum(dim=-1), torch.ones(BATCH, 2, 15, dtype=torch.float64))
    rows, heads = torch.tensor([7, 2, 11]), torch.tensor([1])
    torch.testing.assert_close(layer.pattern(tokens(), rows=rows, heads=heads), pattern[:, heads][:, :, rows])
    assert torch.equal(layer(tokens()), before)


@every_layer
def test_it_is_built_by_name_and_refuses_what_it_does_not_know(name: str) -> None:
    assert isinstance(attention_layer(name, SHAPE), layers.get(name))
    with pytest.raises(ValueError, match=f"{name} attention cannot be built with"):
        attention_layer(name, SHAPE, options={"no_such": 1})
    with pytest.raises(ValueError, match=f"{name} attention brings its own positions"):
        attention_layer(name, SHAPE, positions=Rotary(8))


@every_layer
def test_facts_are_told(name: str) -> None:
    facts = layers.get(name).facts
    assert facts.title and facts.formula and "N" in facts.time and "N" in facts.memory and facts.source


def test_cascades_need_a_grid() -> None:
    with pytest.raises(ValueError, match=r"needs a grid and no tokens before it, but got grid=None"):
        attention_layer("cascaded_group", LayerShape(2, 7, num_tokens=15))
    with pytest.raises(ValueError, match=r"but got grid=\(3, 5\), num_prefix=1"):
        attention_layer("cascaded_group", LayerShape(2, 7, num_tokens=16, grid=GRID, num_prefix=1))
