"""Cascaded group attention against loops and timm's EfficientViT."""

import math

import pytest
import torch
import torch.nn.functional as F

from archaeology.attention import layers
from archaeology.attention.cascaded_group import CascadedGroupAttention

GRID = (3, 5)


def layer_with_history(grid=GRID, **options):
    """A layer in double precision whose running statistics and biases are not those of a fresh one."""
    torch.manual_seed(0)
    layer = CascadedGroupAttention(21, 3, 4, grid, **options).double()
    torch.nn.init.normal_(layer.table)
    for module in layer.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                torch.nn.init.normal_(tensor)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return layer.eval()


def normed(maps, block):
    convolution, norm = block
    maps = F.conv2d(maps, convolution.weight, padding=convolution.padding, groups=convolution.groups)
    shape = (1, -1, 1, 1)
    scaled = (maps - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + norm.eps).sqrt()
    return scaled * norm.weight.view(shape) + norm.bias.view(shape)


def looped(layer, tokens):
    """Equations 2 and 3 of `liu2023efficientvit`, and the pattern of every head."""
    rows, columns = layer.grid
    cells = [(row, column) for row in range(rows) for column in range(columns)]
    batch = len(tokens)
    picture = tokens.transpose(1, 2).reshape(batch, -1, rows, columns)
    width = picture.shape[1] // layer.num_heads
    answers, patterns, before = [], [], 0
    for h in range(layer.num_heads):
        both = normed(picture[:, h * width : (h + 1) * width] + before, layer.qkv[h])
        query = normed(both[:, :4], layer.local[h])
        key, value = both[:, 4:8], both[:, 8:]
        answer = torch.zeros(batch, width, rows, columns, dtype=torch.float64)
        pattern = torch.zeros(batch, len(cells), len(cells), dtype=torch.float64)
        for b in range(batch):
            for q, (y, x) in enumerate(cells):
                weights = []
                for v, u in cells:
                    score = float(query[b, :, y, x] @ key[b, :, v, u]) / 2
                    weights.append(math.exp(score + float(layer.table[h, abs(y - v) * columns + abs(x - u)])))
                for k, (v, u) in enumerate(cells):
                    pattern[b, q, k] = weights[k] / sum(weights)
                    answer[b, :, y, x] += pattern[b, q, k] * value[b, :, v, u]
        answers.append(answer)
        patterns.append(pattern)
        before = answer
    mixed = normed(torch.cat(answers, dim=1).relu(), layer.proj[1:])
    return mixed.flatten(2).transpose(1, 2), torch.stack(patterns, dim=1)


@pytest.mark.parametrize("kernel_sizes", [None, (7, 3, 1)])
@torch.no_grad()
def test_the_layer_is_what_the_paper_says(kernel_sizes):
    layer = layer_with_history(kernel_sizes=kernel_sizes)
    tokens = torch.randn(2, 15, 21, dtype=torch.float64)
    expected, patterns = looped(layer, tokens)
    torch.testing.assert_close(layer(tokens), expected)
    torch.testing.assert_close(layer.pattern(tokens), patterns)
    rows, heads = torch.tensor([11, 2]), torch.tensor([2, 0])
    part = layer.pattern(tokens, rows=rows, heads=heads)
    torch.testing.assert_close(part, patterns[:, heads][:, :, rows])


def timm_pair():
    """Ours and timm's, with the same weights."""
    msra = pytest.importorskip("timm.models.efficientvit_msra")
    theirs = msra.CascadedGroupAttention(24, 4, 3, attn_ratio=2, resolution=5, kernels=(7, 5, 3))
    torch.nn.init.normal_(theirs.attention_biases)
    torch.nn.init.normal_(theirs.proj[1].bn.weight)
    ours = CascadedGroupAttention(24, 3, 4, (5, 5), kernel_sizes=(7, 5, 3))
    pairs = [*zip(ours.qkv, theirs.qkvs, strict=True), *zip(ours.local, theirs.dws, strict=True)]
    for block, other in [*pairs, (ours.proj[1:], theirs.proj[1])]:
        block[0].load_state_dict(other.conv.state_dict())
        block[1].load_state_dict(other.bn.state_dict())
    with torch.no_grad():
        ours.table.copy_(theirs.attention_biases)
    return ours, theirs


def as_map(tokens):
    return tokens.transpose(1, 2).unflatten(2, (5, 5))


@pytest.mark.parametrize("training", [True, False])
def test_parity_with_timm(training):
    ours, theirs = timm_pair()
    ours.train(training)
    theirs.train(training)
    tokens = torch.randn(7, 25, 24)
    for _ in range(2):  # the second time with statistics of the first
        expected = theirs(as_map(tokens)).flatten(2).transpose(1, 2)
        torch.testing.assert_close(ours(tokens), expected, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_timm_goes_on_with_old_biases_after_a_pass_in_evaluation_and_ours_does_not():
    ours, theirs = timm_pair()
    ours.eval()
    theirs.eval()
    tokens = torch.randn(2, 25, 24)
    before = ours(tokens), theirs(as_map(tokens))
    ours.table.mul_(-1)
    theirs.attention_biases.mul_(-1)
    assert torch.equal(theirs(as_map(tokens)), before[1])
    assert not torch.allclose(ours(tokens), before[0], atol=1e-3)


def test_gradients_against_finite_differences_reach_tokens_and_weights():
    layer = layer_with_history((2, 3))
    tokens = torch.randn(2, 6, 21, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, tokens, fast_mode=True)
    layer(tokens).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name


@torch.no_grad()
def test_examples_do_not_see_one_another_in_evaluation_and_any_precision_works():
    layer = layer_with_history()
    tokens = torch.randn(3, 15, 21, dtype=torch.float64)
    for i in range(3):
        torch.testing.assert_close(layer(tokens[i : i + 1]), layer(tokens)[i : i + 1])
    rough = layer.to(torch.bfloat16)(tokens.bfloat16())
    assert rough.dtype == torch.bfloat16 and bool(rough.isfinite().all())


def test_the_pattern_leaves_mode_and_statistics_alone():
    layer = layer_with_history().train()
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    layer.pattern(torch.randn(2, 15, 21, dtype=torch.float64))
    assert layer.training and layer.mechanism.training
    for name, tensor in layer.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_it_is_registered_as_a_layer_and_says_what_it_is():
    assert layers.get("cascaded_group") is CascadedGroupAttention
    assert CascadedGroupAttention.facts.source == "liu2023efficientvit"


def test_what_cannot_be_is_refused():
    with pytest.raises(
        ValueError, match="num_heads must divide embed_dim, but got embed_dim=20, num_heads=3"
    ):
        CascadedGroupAttention(20, 3, 4, GRID)
    with pytest.raises(ValueError, match=r"must not be empty, but got key_dim=4, grid=\(0, 5\)"):
        CascadedGroupAttention(21, 3, 4, (0, 5))
    with pytest.raises(ValueError, match=r"an odd number for each of 3 heads, but got \(3, 5\)"):
        CascadedGroupAttention(21, 3, 4, GRID, kernel_sizes=(3, 5))
    with pytest.raises(ValueError, match="3 x 5 has 15 tokens, but got 16; leave prefix tokens out"):
        layer_with_history()(torch.zeros(2, 16, 21, dtype=torch.float64))
