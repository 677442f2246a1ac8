"""Positions that are added: what each place gets, other sizes, and schemes by name for grids and sequences."""

import math

import pytest
import torch

from archaeology.attention import MultiHeadAttention, position_scheme
from archaeology.attention.mechanism import LayerShape
from archaeology.attention.position_scheme import SCHEMES
from archaeology.attention.positions import (
    GridPositions,
    SequencePositions,
    resized_grid_features,
    resized_sequence_features,
)
from archaeology.core.errors import UnknownNameError

KINDS = ["none", "linear", "learnable", "sinusoidal"]


def test_waves_of_a_sequence_are_those_of_the_paper_sorted():
    """`vaswani2017attention`, section 3.5: PE(p, 2i) = sin(p / 10000^(2i/d)), PE(p, 2i+1) its cosine."""
    table = SequencePositions("sinusoidal", 11, 6).features()[0]
    for p in range(11):
        for i in range(3):
            angle = p / 10_000 ** (2 * i / 6)
            assert math.isclose(float(table[p, i]), math.sin(angle), abs_tol=1e-6)
            assert math.isclose(float(table[p, 3 + i]), math.cos(angle), abs_tol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_later_tokens_of_a_sequence_get_later_positions(kind):
    positions = SequencePositions(kind, 13, 6)
    tokens = torch.randn(2, 13, 6)
    whole = positions(tokens)
    parts = torch.cat([positions(tokens[:, :5]), positions(tokens[:, 5:], offset=5)], dim=1)
    torch.testing.assert_close(parts, whole)
    assert torch.equal(whole, tokens) == (kind == "none")


def test_linear_positions_are_a_line():
    positions = SequencePositions("linear", 5, 7)
    torch.testing.assert_close(
        positions.features()[0], torch.tensor([-1, -0.5, 0, 0.5, 1])[:, None] * positions.project.weight[:, 0]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_resized_positions_fit_the_other_size_and_the_same_size_changes_nothing(kind):
    grid, line = GridPositions(kind, 3, 5, 8), SequencePositions(kind, 7, 8)
    patches, tokens = torch.randn(2, 15, 8), torch.randn(2, 7, 8)
    torch.testing.assert_close(grid.resized(3, 5)(patches), grid(patches))
    torch.testing.assert_close(line.resized(7)(tokens), line(tokens))
    assert grid.resized(6, 7)(torch.zeros(2, 42, 8)).shape == (2, 42, 8)
    assert line.resized(19)(torch.zeros(2, 19, 8)).shape == (2, 19, 8)
    assert grid.double().resized(4, 4).features().dtype == torch.float64 if kind != "none" else True


def test_what_is_learned_is_stretched_over_the_other_grid():
    linear = GridPositions("linear", 3, 5, 8)
    torch.testing.assert_close(linear.resized(2, 9).features()[0, [0, -1]], linear.features()[0, [0, -1]])
    learned = GridPositions("learnable", 4, 6, 3)
    with torch.no_grad():
        learned.table.copy_(torch.arange(4.0).repeat_interleave(6)[None, :, None].expand(1, 24, 3))
    rows = learned.resized(8, 6).features().detach().reshape(8, 6, 3)
    assert bool((rows.diff(dim=0) > 0).all()) and float(rows.diff(dim=1).abs().max()) < 1e-5
    waves = GridPositions("sinusoidal", 3, 5, 8)
    larger = waves.resized(4, 7).features().reshape(4, 7, 8)
    torch.testing.assert_close(larger[:3, :5].reshape(15, 8), waves.features()[0])


def test_interpolation_is_that_of_timm_and_leaves_prefix_tokens_alone():
    timm = pytest.importorskip("timm.layers")
    features = torch.randn(1, 2 + 5 * 7, 11)
    ours = resized_grid_features(features, (5, 7), (8, 3), num_prefix=2)
    theirs = timm.resample_abs_pos_embed(features, [8, 3], old_size=[5, 7], num_prefix_tokens=2)
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(ours[:, :2], features[:, :2])
    assert resized_grid_features(features, (5, 7), (5, 7), num_prefix=2) is features


def test_a_sequence_is_stretched_between_its_ends():
    line = torch.tensor([9.0, 0.0, 2.0, 6.0])[None, :, None]
    stretched = resized_sequence_features(line, 5, num_prefix=1)[0, :, 0]
    torch.testing.assert_close(stretched, torch.tensor([9.0, 0.0, 1.0, 2.0, 4.0, 6.0]))


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match=r"3 x 5 grid are for 15 patches, but got 16; use resized"):
        GridPositions("learnable", 3, 5, 8)(torch.zeros(2, 16, 8))
    with pytest.raises(ValueError, match=r"there are 7 positions, but got tokens at 5 to 9"):
        SequencePositions("sinusoidal", 7, 8)(torch.zeros(2, 5, 8), offset=5)
    with pytest.raises(ValueError, match="embed_dim that 2 divides, but got embed_dim=7"):
        SequencePositions("sinusoidal", 5, 7)
    with pytest.raises(ValueError, match=r"at least one place along every axis, but got \(0,\)"):
        SequencePositions("learnable", 0, 7)
    with pytest.raises(ValueError, match=r"positions must be one of none, linear.*but got 'spiral'"):
        SequencePositions("spiral", 5, 7)


GRID_SHAPE = LayerShape(num_heads=3, head_dim=8, grid=(3, 5), num_prefix=2)
LINE_SHAPE = LayerShape(num_heads=3, head_dim=8, num_tokens=17)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("shape", [GRID_SHAPE, LINE_SHAPE], ids=["grid", "sequence"])
def test_every_scheme_tells_places_apart_in_a_layer(name, shape):
    torch.manual_seed(0)
    scheme = position_scheme(name, shape)
    layer = MultiHeadAttention(24, 3, positions=scheme.inside())
    if shape.num_prefix == 0:
        tokens = scheme.added(torch.ones(1, 17, 24))
    else:
        tokens = torch.cat([torch.ones(1, 2, 24), scheme.added(torch.ones(1, 15, 24))], dim=1)
    pattern = layer.pattern(10 * tokens)
    spread = float((pattern - 1 / 17).detach().abs().max())
    assert (spread > 1e-3) == (name != "none"), spread
    assert layer(tokens).shape == tokens.shape


@pytest.mark.parametrize("name", SCHEMES)
def test_the_names_in_a_state_stay_what_bundled_weights_hold(name):
    names = set(position_scheme(name, GRID_SHAPE).added.state_dict())
    assert names == {"learnable": {"table"}, "linear": {"project.weight"}}.get(name, set())


def test_every_layer_learns_its_own_numbers():
    scheme = position_scheme("relative_bias", GRID_SHAPE)
    first, second = scheme.inside(), scheme.inside()
    assert first.table is not second.table
    assert "positions.table" in MultiHeadAttention(24, 3, positions=first).state_dict()


def test_schemes_that_cannot_be_are_refused():
    with pytest.raises(
        UnknownNameError, match="No position scheme is called 'rotari'; did you mean 'rotary'"
    ):
        position_scheme("rotari", LINE_SHAPE)
    for name in ("learnable", "relative_bias"):
        with pytest.raises(ValueError, match=f"{name} positions need to know the longest sequence"):
            position_scheme(name, LayerShape(num_heads=3, head_dim=8))
    with pytest.raises(ValueError, match="4 must divide head_dim, but got 6"):
        position_scheme("rotary", LayerShape(num_heads=3, head_dim=6, grid=(3, 5)))
