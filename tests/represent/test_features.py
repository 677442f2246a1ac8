"""Features are what the layers return, whatever the batch, and know which images they are of."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.ablate import small_models as small
from tests.represent.made_up import features, random

from archaeology.core.errors import UnknownNameError
from archaeology.data.cache import decode_once
from archaeology.data.worlds.cue_conflict import CueConflict
from archaeology.models.convnet import ConvNet
from archaeology.models.vit import ViT
from archaeology.represent import cached_features, extract_features, layer_paths, readouts
from archaeology.represent.features import check_same_images, concatenated
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen


def registered_vit():
    """2 x 3 patches behind a class token and 2 registers."""
    model = ViT((6, 9), 3, 5, embed_dim=16, depth=2, num_heads=2, pooling="class_token", num_registers=2)
    return small.specimen(model, layout=TokenLayout(2, 3, ("class", "register", "register")))


def convnet():
    model = ConvNet(16, 5, widths=(7, 11))
    return Specimen("cnn", model.eval(), "convolutional", (), (16, 16))


def tokens_by_hand(specimen, images, layer):
    kept = {}
    hook = specimen.model.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.update(out=o))
    with torch.no_grad():
        specimen.predict(images)
    hook.remove()
    return kept["out"]


EXPECTED = {
    "class_token": lambda t: t[:, 0],
    "mean_patches": lambda t: t[:, 3:].mean(1),
    "class_and_mean": lambda t: torch.cat([t[:, 0], t[:, 3:].mean(1)], 1),
    "mean_tokens": lambda t: t.mean(1),
    "registers": lambda t: t[:, 1:3].mean(1),
    "max_patches": lambda t: t[:, 3:].amax(1),
    "flat_patches": lambda t: t[:, 3:].reshape(len(t), -1),
    "flat_tokens": lambda t: t.reshape(len(t), -1),
}


def test_every_readout_has_an_expectation():
    assert set(EXPECTED) == set(readouts.names())


@pytest.mark.parametrize("readout", list(EXPECTED))
def test_features_are_read_from_the_tokens_of_the_layer(readout):
    specimen, images = registered_vit(), small.images(5)
    found = extract_features(specimen, images, layers=["blocks.1", "blocks.0"], readout=readout, batch_size=2)
    assert [one.layer for one in found] == ["blocks.1", "blocks.0"]
    for one in found:
        tokens = tokens_by_hand(specimen, images, one.layer)
        np.testing.assert_allclose(one.values, EXPECTED[readout](tokens).numpy(), rtol=1e-4, atol=1e-5)
        assert one.values.dtype == np.float32


def test_maps_of_a_cnn_are_means_over_places():
    specimen, images = convnet(), small.images(5, 16, 16)
    assert layer_paths(specimen) == ("whiten", "groups.0", "groups.1")
    for one in extract_features(specimen, images):
        maps = tokens_by_hand(specimen, images, one.layer)
        np.testing.assert_allclose(one.values, maps.mean((2, 3)).numpy(), rtol=1e-4, atol=1e-6)


def test_windows_have_their_features_last():
    specimen, images = small.swin(), small.images(2, 8, 8)
    paths = layer_paths(specimen)
    assert paths[-3:] == ("layers.0.blocks.0", "layers.0.blocks.1", "layers.1.blocks.0")
    found = extract_features(specimen, images, layers=paths[-3:])
    assert [one.values.shape[1] for one in found] == [10, 10, 20]


def test_layers_without_what_is_read_are_left_out_unless_named():
    specimen, images = small.timm_vit(), small.images(2)
    assert layer_paths(specimen)[0] == "patch_embed"
    found = extract_features(specimen, images, readout="class_token")
    assert [one.layer for one in found] == ["blocks.0", "blocks.1", "blocks.2"]
    with pytest.raises(ValueError, match=r"needs a class token, but patch_embed has only places"):
        extract_features(specimen, images, layers=["patch_embed"], readout="class_token")
    with pytest.raises(ValueError, match=r"needs registers, but blocks\.2 has class"):
        extract_features(specimen, images, readout="registers")


def test_each_image_alone_equals_itself_in_the_batch_and_the_model_stays():
    specimen, images = registered_vit(), small.images(5)
    before = {name: tensor.clone() for name, tensor in specimen.model.state_dict().items()}
    together = extract_features(specimen, images)[-1]
    for row in range(5):
        alone = extract_features(specimen, images[row : row + 1])[-1]
        np.testing.assert_allclose(alone.values[0], together.values[row], rtol=1e-4, atol=1e-5)
        assert alone.ids[0] == together.ids[row]
    assert not any(module._forward_hooks for module in specimen.model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in specimen.model.state_dict().items())


def test_ids_are_of_pixels_and_find_duplicates():
    specimen, images = convnet(), small.images(3, 16, 16)
    twice = torch.cat([images, images[1:2]])
    found = extract_features(specimen, twice, layers=["groups.1"])[0]
    assert found.num_duplicates == 1 and found.ids[3] == found.ids[1]
    floats = extract_features(specimen, twice.float() / 255, layers=["groups.1"])[0]
    assert floats.ids == found.ids


def test_what_was_read_is_taken_from_the_disk_until_something_changes(tmp_path, monkeypatch):
    images = decode_once(CueConflict(num_images=5, size=16), (16, 16), folder=tmp_path)
    specimen = convnet()
    first = cached_features(specimen, images, layers=["groups.0"], folder=tmp_path)[0]
    passes = []
    model = specimen.model
    model.register_forward_hook(lambda *_: passes.append(1))
    again = cached_features(specimen, images, layers=["groups.0"], folder=tmp_path)[0]
    assert not passes
    np.testing.assert_array_equal(again.values, first.values)
    assert again.ids == first.ids and again.layer == "groups.0"
    cached_features(specimen, images, layers=["groups.0"], readout="max_patches", folder=tmp_path)
    assert passes
    for path in (tmp_path / "features").iterdir():
        path.write_bytes(b"broken")
    np.testing.assert_array_equal(
        cached_features(specimen, images, layers=["groups.0"], folder=tmp_path)[0].values, first.values
    )
    with torch.no_grad():
        model.whiten.weight.mul_(1.5)
    changed = cached_features(specimen, images, layers=["groups.0"], folder=tmp_path)[0]
    assert not np.allclose(changed.values, first.values)


def test_concatenation_is_of_the_same_images():
    one, other = features(random(5, 3)), features(random(5, 2, 1), layer="other")
    joined = concatenated([one, other])
    np.testing.assert_array_equal(joined.values, np.hstack([one.values, other.values]))
    with pytest.raises(ValueError, match="2 images that differ"):
        concatenated([one, features(random(5, 2), ids=["x", "y", *one.ids[2:]])])
    with pytest.raises(ValueError, match="at least one feature set"):
        concatenated([])
    check_same_images(one, other)


def test_bad_input_is_refused():
    specimen, images = registered_vit(), small.images(2)
    with pytest.raises(UnknownNameError, match=r"blocks\.1"):
        extract_features(specimen, images, layers=["block.1"])
    with pytest.raises(UnknownNameError, match="class_token"):
        extract_features(specimen, images, readout="clas_token")
    with pytest.raises(ValueError, match="each once"):
        extract_features(specimen, images, layers=["blocks.1", "blocks.1"])
    with pytest.raises(ValueError, match="at least one image"):
        extract_features(specimen, images[:0])
    with pytest.raises(ValueError, match="while the layout declares"):
        wrong = replace(specimen, layout=TokenLayout(3, 4, ("class",)))
        extract_features(wrong, images, layers=["blocks.0"])
    with torch.no_grad():
        next(specimen.model.blocks[1].parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match=r"NaN or infinite for 2 of 2 images"):
        extract_features(specimen, images)
    with pytest.raises(ValueError, match="one id for each row"):
        features(random(3, 2), ids=["a"])
