"""Rotary positions against complex numbers, Hugging Face's Llama and timm's axial ones."""

import cmath

import pytest
import torch

from archaeology.attention import AxialRotary, MultiHeadAttention, Rotary


def looped_rotation(heads, angle_of, *, interleaved):
    """Every pair as a complex number, multiplied by exp(i angle), one by one."""
    result = torch.zeros_like(heads)
    batch, num_heads, tokens, dim = heads.shape
    for b in range(batch):
        for h in range(num_heads):
            for t in range(tokens):
                for i in range(dim // 2):
                    places = (2 * i, 2 * i + 1) if interleaved else (i, i + dim // 2)
                    number = complex(*(float(heads[b, h, t, place]) for place in places))
                    turned = number * cmath.exp(1j * angle_of(b, t, i))
                    result[b, h, t, places[0]], result[b, h, t, places[1]] = turned.real, turned.imag
    return result


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotation_is_a_complex_product(interleaved):
    heads = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    positions = torch.tensor([0, 1, 7, 100, 3])
    rotary = Rotary(6, base=100.0, interleaved=interleaved)
    expected = looped_rotation(
        heads, lambda b, t, i: int(positions[t]) * 100 ** (-i / 3), interleaved=interleaved
    )
    torch.testing.assert_close(rotary.rotate(heads, positions), expected)


def test_examples_may_have_positions_of_their_own():
    heads, positions = torch.randn(2, 3, 5, 6), torch.randint(0, 50, (2, 5))
    together = Rotary(6).rotate(heads, positions)
    for b in range(2):
        torch.testing.assert_close(Rotary(6).rotate(heads[b : b + 1], positions[b]), together[b : b + 1])
    axial = AxialRotary(8, (3, 5), 1)
    kept = torch.stack([torch.randperm(16)[:7] for _ in range(2)])
    heads = torch.randn(2, 3, 16, 8)
    rotated = axial.rotate(heads, torch.arange(16))
    index = kept[:, None, :, None].expand(2, 3, 7, 8)
    torch.testing.assert_close(axial.rotate(heads.gather(2, index), kept), rotated.gather(2, index))


@pytest.mark.parametrize("interleaved", [False, True])
def test_axial_rotation_turns_half_with_the_row_and_half_with_the_column(interleaved):
    heads = torch.randn(1, 2, 2 + 15, 8, dtype=torch.float64)

    def angle_of(b, token, pair):
        if token < 2:
            return 0.0
        place = divmod(token - 2, 5)[0 if pair < 2 else 1]
        return place * 10_000 ** (-(pair % 2) / 2)

    rotated = AxialRotary(8, (3, 5), 2, interleaved=interleaved).rotate(heads, torch.arange(17))
    torch.testing.assert_close(rotated, looped_rotation(heads, angle_of, interleaved=interleaved))
    assert torch.equal(rotated[:, :, :2], heads[:, :, :2])


def test_products_depend_on_distance_alone_also_on_a_grid():
    query, key = torch.randn(1, 1, 1, 8, dtype=torch.float64), torch.randn(1, 1, 1, 8, dtype=torch.float64)
    line = torch.arange(20)
    rotary = Rotary(8)
    scores = rotary.rotate(query.expand(1, 1, 20, 8), line) @ rotary.rotate(key.expand(1, 1, 20, 8), line).mT
    torch.testing.assert_close(scores[0, 0, 3, 5], scores[0, 0, 11, 13])
    axial, cells = AxialRotary(8, (4, 5)), torch.arange(20)
    grid = axial.rotate(query.expand(1, 1, 20, 8), cells) @ axial.rotate(key.expand(1, 1, 20, 8), cells).mT
    grid = grid.reshape(4, 5, 4, 5)
    torch.testing.assert_close(grid[0, 0, 2, 1], grid[1, 3, 3, 4])
    assert float((grid[0, 0, 1, 3] - grid[0, 0, 3, 1]).abs()) > 1e-3  # not the sum of both


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_angles_are_exact_in_half_precision(dtype):
    heads = torch.ones(1, 1, 1, 4, dtype=dtype)
    rotated = Rotary(4).rotate(heads, torch.tensor([4095]))
    expected = Rotary(4).rotate(heads.double(), torch.tensor([4095]))
    assert rotated.dtype == dtype
    torch.testing.assert_close(rotated.double(), expected, atol=0.01, rtol=0)


@pytest.mark.slow
def test_parity_with_llama():
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    from transformers import LlamaConfig

    config = LlamaConfig(hidden_size=48, num_attention_heads=3, max_position_embeddings=4096)
    heads, positions = torch.randn(2, 3, 7, 16), torch.tensor([[0, 1, 2, 50, 999, 4000, 5]])
    cosine, sine = llama.LlamaRotaryEmbedding(config)(heads, positions)
    theirs, _ = llama.apply_rotary_pos_emb(heads, heads, cosine, sine)
    # At position 4,000 the last bit of an angle is 2e-4: two ways to round the frequencies differ by less.
    torch.testing.assert_close(Rotary(16).rotate(heads, positions[0]), theirs, atol=2e-4, rtol=0)


@pytest.mark.parametrize("trained", [None, (4, 9)])
def test_parity_with_timm_on_a_grid(trained):
    timm = pytest.importorskip("timm.layers.pos_embed_sincos")
    heads = torch.randn(2, 3, 15, 16)
    reference = None if trained is None else list(trained)
    embedding = timm.RotaryEmbeddingCat(16, in_pixels=False, feat_shape=[3, 5], ref_feat_shape=reference)
    theirs = timm.apply_rot_embed_cat(heads, embedding.get_embed())
    ours = AxialRotary(16, trained or (3, 5), interleaved=True)
    ours = ours.resized((3, 5)) if trained else ours
    torch.testing.assert_close(ours.rotate(heads, torch.arange(15)), theirs)


def test_pairs_may_be_neighbours_or_halves_and_one_is_a_permutation_of_the_other():
    heads, positions = torch.randn(2, 3, 5, 8), torch.arange(5)
    order = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])
    neighbours = Rotary(8, interleaved=True).rotate(heads, positions)
    halves = Rotary(8).rotate(heads[..., order], positions)
    torch.testing.assert_close(neighbours[..., order], halves)
    assert not torch.allclose(neighbours, Rotary(8).rotate(heads, positions))


def test_a_layer_with_rotary_positions_sees_order_and_only_distances():
    torch.manual_seed(0)
    layer = MultiHeadAttention(24, 3, positions=Rotary(8))
    tokens = torch.randn(1, 7, 24)
    assert not torch.allclose(layer(tokens.flip(1)).flip(1), layer(tokens), atol=1e-4)


def test_odd_sizes_and_too_many_tokens_are_refused():
    with pytest.raises(ValueError, match="head_dim must be even, but got 7"):
        Rotary(7)
    with pytest.raises(ValueError, match="4 must divide head_dim, but got 6"):
        AxialRotary(6, (3, 5))
    with pytest.raises(ValueError, match=r"3 x 5 after 2 prefix tokens has 17 tokens, but got 18"):
        AxialRotary(8, (3, 5), 2).rotate(torch.zeros(1, 1, 18, 8), torch.arange(18))
