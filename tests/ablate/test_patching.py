"""Activation patching against whole passes with hooks, pair by pair, and on a model where every share is known."""

import numpy as np
import pytest
import torch
from tests.ablate import planted
from tests.ablate import small_models as small

from archaeology.ablate import patch_activations

PAIRS = 3


def pairs(specimen):
    """Images of which the model says different things."""
    images = small.images(40, *specimen.image_size)
    with torch.no_grad():
        said = specimen.predict(images).argmax(1).tolist()
    rows = [(i, i + 1) for i in range(39) if said[i] != said[i + 1]][:PAIRS]
    assert len(rows) == PAIRS
    first, second = torch.tensor(rows).T
    return images[first], images[second]


def patched_by_hand(model, module, corrupted, clean, swap):
    """Logits of one corrupted image; `swap(own, of_clean)` is what the module is given to say (or its input)."""
    kept = []
    handle = module.register_forward_hook(lambda m, given, output: kept.append((given[0], output)))
    model(clean)
    handle.remove()
    with torch.no_grad():
        handle = swap(module, kept[0])
        logits = model(corrupted)
        handle.remove()
    return logits[0]


def swaps(part, layer, place, model):
    """The module to change, and how, for timm's ViT."""
    block = model.blocks[layer]
    if part in ("heads", "layers"):
        chosen = slice(5 * place, 5 * place + 5) if part == "heads" else slice(None)

        def into_projection(module, kept):
            def hook(m, given):
                changed = given[0].clone()
                changed[..., chosen] = kept[0][..., chosen]
                return (changed,)

            return module.register_forward_pre_hook(hook)

        return block.attn.proj, into_projection
    chosen = slice(None) if part == "mlps" else slice(place, place + 1)

    def output(module, kept):
        def hook(m, given, own):
            own = own.clone()
            own[:, chosen] = kept[1][:, chosen]
            return own

        return module.register_forward_hook(hook)

    return (block.mlp if part == "mlps" else block), output


@pytest.mark.parametrize("part", ["heads", "layers", "mlps", "tokens"])
@torch.no_grad()
def test_every_place_equals_a_whole_pass_with_hooks(part):
    specimen = small.timm_vit(depth=2)
    clean, corrupted = pairs(specimen)
    found = patch_activations(specimen, clean, corrupted, part=part, batch_size=2)
    model = specimen.model
    of_clean, of_corrupted = specimen.prepare(clean), specimen.prepare(corrupted)
    assert found.patched.shape == (PAIRS, 2, {"heads": 3, "tokens": 7}.get(part, 1))
    for pair in range(PAIRS):
        one, other = of_clean[pair : pair + 1], of_corrupted[pair : pair + 1]
        target, against = int(model(one).argmax()), int(model(other).argmax())
        assert (found.target[pair], found.against[pair]) == (target, against)
        for logits, said in ((model(one)[0], found.clean), (model(other)[0], found.corrupted)):
            assert said[pair] == pytest.approx(float(logits[target] - logits[against]), rel=1e-4, abs=1e-4)
        for layer, place in np.ndindex(*found.patched.shape[1:]):
            module, swap = swaps(part, layer, place, model)
            logits = patched_by_hand(model, module, other, one, swap)
            expected = float(logits[target] - logits[against])
            assert found.patched[pair, layer, place] == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert np.abs(found.recovered).max() > 0.1
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def red_against_black(count, **options):
    """Pairs of a red image and a black one: the difference is what heads say of red."""
    clean = planted.coloured(torch.full((count,), 2))
    return patch_activations(planted.specimen(), clean, torch.zeros_like(clean), **options)


def test_shares_that_are_known():
    heads = red_against_black(4)
    assert heads.target.tolist() == [2] * 4 and heads.against.tolist() == [0] * 4
    shares = heads.shares()
    # Either reader of red brings all of the difference, green's readers and the useless head none; layer 1 has 2 heads.
    np.testing.assert_allclose(shares.value, [[1, 0, 0], [1, 0, np.nan]], atol=1e-5)
    np.testing.assert_allclose(shares.low, shares.value, atol=1e-5)
    assert [row["place"] for row in heads.table()] == [0, 1, 2, 0, 1]
    np.testing.assert_allclose(red_against_black(2, part="mlps").shares().value, [[0], [1]], atol=1e-5)
    np.testing.assert_allclose(red_against_black(2, part="layers").shares().value, [[1], [1]], atol=1e-5)
    tokens = red_against_black(2, part="tokens").shares().value
    # After layer 0 one red token of 6 says 1 + 1/6 of red, cut off at 1, and the 5 others hear 1/6 from it.
    np.testing.assert_allclose(tokens, [[(1 + 5 / 6) / 6] * 6, [1 / 6] * 6], atol=1e-5)


def test_the_ratio_of_sums_has_an_interval_over_pairs():
    specimen = small.timm_vit(depth=1)
    found = patch_activations(specimen, *pairs(specimen))
    shares = found.shares(seed=3)
    gained = found.patched - found.corrupted[:, None, None]
    np.testing.assert_allclose(shares.value, gained.sum(0) / (found.clean - found.corrupted).sum())
    assert (shares.low <= shares.value).all() and (shares.value <= shares.high).all()
    assert (shares.high > shares.low).all() and shares.n == PAIRS


def test_a_pair_alone_equals_itself_among_others_on_windows():
    specimen = small.swin()
    clean, corrupted = pairs(specimen)
    together = patch_activations(specimen, clean, corrupted)
    for pair in range(PAIRS):
        one = slice(pair, pair + 1)
        alone = patch_activations(specimen, clean[one], corrupted[one])
        np.testing.assert_allclose(alone.patched[0], together.patched[pair], rtol=1e-3, atol=1e-3)


def test_errors_say_what_to_do():
    specimen, images = small.timm_vit(depth=1), small.images(2)
    with pytest.raises(ValueError, match=r"No part to patch is called 'head'; did you mean 'heads'"):
        patch_activations(specimen, images, images, part="head")
    with pytest.raises(ValueError, match=r"pairs of a clean and a corrupted image, but got 2 and 1"):
        patch_activations(specimen, images, images[:1])
    with pytest.raises(ValueError, match=r"but pair 0 has class \d twice; choose other images"):
        patch_activations(specimen, images, images)
    with pytest.raises(ValueError, match=r"a class in 0..6 for each of the 2 pairs, but got \[9, 1\]"):
        patch_activations(specimen, images, images, target=torch.tensor([9, 1]), against=torch.tensor([0, 0]))
    swin = small.swin()
    with pytest.raises(ValueError, match=r"same tokens as \(image, token, feature\), but layers.0.blocks.0"):
        patch_activations(swin, small.images(2, 8, 8), small.images(2, 8, 8), part="tokens")
