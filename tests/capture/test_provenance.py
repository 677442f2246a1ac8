"""Places of window tokens: against the partitions that the libraries themselves make, and never a wrong one."""

import pytest
import timm
import torch
import torchvision
from tests.ablate import small_models as small
from torch import nn

from archaeology.capture import Places, capture, global_pattern, places_of
from archaeology.capture.places import place_distance
from archaeology.capture.provenance import find_places
from archaeology.models.swin import Swin
from archaeology.specimens.specimen import Specimen


def sharp(model, size, seed=0):
    return small.specimen(model, (size, size) if isinstance(size, int) else size, seed=seed)


def fresh(model, size):
    """Weights as the library draws them."""
    return Specimen("fresh", model.eval(), "transformer", (), (size, size))


def timm_swin(size=24, window=3, depths=(2, 2)):
    torch.manual_seed(0)
    return timm.models.SwinTransformer(
        img_size=size,
        patch_size=2,
        window_size=window,
        embed_dim=10,
        depths=depths,
        num_heads=(2, 5)[: len(depths)],
        num_classes=7,
    )


def rolled_windows(rows, columns, window, shift, pads_last=False):
    """The numbers of a map, padded, rolled and cut as Swin does it; -1 for padding. timm rolls before it pads."""
    number = torch.arange(rows * columns).view(rows, columns)
    if pads_last:
        number, shift = number.roll((-shift, -shift), (0, 1)), 0
    high, wide = (-(-side // window) * window for side in (rows, columns))
    padded = torch.full((high, wide), -1)
    padded[:rows, :columns] = number
    padded = padded.roll((-shift, -shift), (0, 1))
    cut = padded.view(high // window, window, wide // window, window).transpose(1, 2)
    return cut.reshape(-1, window**2)


def assert_places(found, rows, columns, index):
    assert found.reason == ""
    assert found.places is not None
    assert (found.places.rows, found.places.columns) == (rows, columns)
    assert torch.equal(found.places.index, index)


def index_shape(layer):
    return None if layer.places is None else tuple(layer.places.index.shape)


@pytest.mark.parametrize(("size", "window"), [(24, 3), (20, 4)])  # the second map is padded
def test_timm_swin_as_its_own_partition(size, window):
    found = places_of(fresh(timm_swin(size, window), size))
    shifts = [0, window // 2, 0, window // 2]
    sides = [size // 2, size // 2, size // 4, size // 4]
    for layer, shift, side in zip(found, shifts, sides, strict=True):
        assert_places(layer, side, side, rolled_windows(side, side, window, shift, pads_last=True))


def test_sharp_weights_hide_no_places():
    found = places_of(small.swin())
    assert [index_shape(layer) for layer in found] == [(16, 4), (16, 4), (4, 4)]
    assert_places(found[1], 8, 8, rolled_windows(8, 8, 2, 1))


@pytest.mark.parametrize("version", [1, 2])
def test_torchvision_swin_as_its_own_partition(version):
    torch.manual_seed(0)
    library = torchvision.models.swin_transformer
    parts = {"block": library.SwinTransformerBlockV2, "downsample_layer": library.PatchMergingV2}
    model = torchvision.models.SwinTransformer(
        [2, 2], 10, [2, 2], [2, 5], [3, 3], num_classes=7, **(parts if version == 2 else {})
    )
    for layer, shift, side in zip(
        places_of(fresh(model, 16)), (0, 1, 0, 1), (8, 8, 4, 4), strict=True
    ):  # both maps are padded
        assert_places(layer, side, side, rolled_windows(side, side, 3, shift))


def test_maxvit_windows_and_grids():
    torch.manual_seed(0)
    model = torchvision.models.MaxVit(
        (32, 32),
        stem_channels=8,
        partition_size=4,
        block_channels=[16],
        block_layers=[1],
        head_dim=8,
        stochastic_depth_prob=0.0,
        num_classes=7,
    )
    window, grid = places_of(fresh(model, 32))
    assert_places(window, 8, 8, rolled_windows(8, 8, 4, 0))
    number = torch.arange(64).view(8, 8)
    cut = torch.stack([number[row::2, column::2].flatten() for row in range(2) for column in range(2)])
    assert_places(grid, 8, 8, cut)


def test_ours_sees_the_whole_map_though_it_computes_windows():
    torch.manual_seed(0)
    found = places_of(fresh(Swin(16, 2, embed_dim=8, depths=(2, 1), num_heads=(2, 2), window=3), 16))
    for layer, side in zip(found, (8, 8, 4), strict=True):
        assert_places(layer, side, side, torch.arange(side**2)[None])


def test_prefix_tokens_lie_nowhere():
    for layer in places_of(small.timm_vit()):
        assert_places(layer, 2, 3, torch.tensor([[-1, 0, 1, 2, 3, 4, 5]]))


class Windowed(nn.Module):
    """Windows of four neighbouring tokens of a 4 x 4 map, with something wrong on the way."""

    def __init__(self, fault):
        super().__init__()
        torch.manual_seed(0)
        self.fault = fault
        self.patches = nn.Conv2d(3, 6, 2, 2)
        self.mix = nn.Conv1d(6, 6, 3, padding=1)
        self.norm, self.qkv = nn.LayerNorm(6), nn.Linear(6, 18)
        self.head = nn.Linear(6, 7)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).mT
        if self.fault == "sorted early":
            tokens = tokens[:, torch.randperm(16, generator=torch.Generator().manual_seed(1))]
        tokens = self.norm(tokens)
        if self.fault == "mixed":
            tokens = tokens + tokens.roll(1, 1)
        query, key, value = self.qkv(tokens).unflatten(1, (4, 4)).flatten(0, 1).chunk(3, -1)
        query = query.flip(1) if self.fault == "queries in another order" else query
        value = value * 0 + 1 if self.fault == "constant values" else value
        answer = (query @ key.mT).softmax(-1) @ value
        return self.head(answer.unflatten(0, (-1, 4)).flatten(1, 2).mean(1))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("mixed", "the image does not confirm"),  # what goes in is exchanged at the very last tensor
        ("queries in another order", "could not be seen to stand in the order of its keys"),
        ("sorted early", "the image does not confirm"),
        ("constant values", "do not depend on the tensors before it"),
    ],
)
def test_no_map_instead_of_a_wrong_one(fault, reason):
    (found,) = places_of(fresh(Windowed(fault), 8))
    assert found.places is None
    assert reason in found.reason


def test_the_same_model_without_fault_has_places():
    (found,) = places_of(fresh(Windowed(""), 8))
    assert_places(found, 4, 4, torch.arange(16).view(4, 4))


def test_other_keys_than_queries_say_so():
    found = places_of(small.cait())
    assert "1 queries look at 5 keys, which are not the same tokens" in found[-1].reason


def test_training_mode_is_an_error():
    model = timm_swin().train()
    with pytest.raises(ValueError, match=r"evaluation mode, but the model is in training mode"):
        find_places(model, model, torch.rand(1, 3, 24, 24))


def test_capture_brings_places_and_leaves_the_model_alone():
    specimen = small.swin()
    before = {name: tensor.clone() for name, tensor in specimen.model.state_dict().items()}
    state = torch.get_rng_state()
    record = capture(specimen, small.images(3, 8, 8))
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in specimen.model.modules())
    for name, tensor in specimen.model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert [index_shape(layer) for layer in record.attentions] == [(16, 4), (16, 4), (4, 4)]
    assert all(layer.places is None for layer in capture(small.timm_vit(), small.images(2)).attentions)
    with torch.inference_mode():
        assert capture(small.swin(), small.images(2, 8, 8)).attentions[0].places is not None


def test_capture_in_training_mode_has_no_places():
    specimen = small.swin()
    specimen.model.train()
    assert capture(specimen, small.images(2, 8, 8)).attentions[0].places is None


def test_global_pattern_in_loops():
    pattern = torch.rand(2 * 3, 5, 4, 4, dtype=torch.float64).softmax(-1)
    index = torch.tensor([[4, 0, 1, -1], [2, -1, -1, 3], [5, 6, 7, -1]])
    whole = global_pattern(pattern, Places(2, 4, index))
    expected = torch.zeros(2, 5, 8, 8, dtype=torch.float64)
    for image in range(2):
        for window in range(3):
            for query, at in enumerate(index[window].tolist()):
                real = [key for key in range(4) if index[window, key] >= 0]
                for key in real if at >= 0 else []:
                    weights = pattern[3 * image + window, :, query]
                    share = weights[:, key] / weights[:, real].sum(-1)
                    expected[image, :, at, index[window, key]] = share
    torch.testing.assert_close(whole, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(whole.sum(-1), torch.ones(2, 5, 8, dtype=torch.float64))


def test_rows_of_a_real_global_pattern_sum_to_one():
    torch.manual_seed(0)
    record = capture(fresh(timm_swin(20, 4), 20), torch.rand(2, 3, 20, 20))
    for layer in record.attentions:
        assert layer.places is not None
        whole = global_pattern(layer.pattern, layer.places)
        assert whole.shape[2:] == (layer.places.num_places,) * 2
        torch.testing.assert_close(whole.sum(-1), torch.ones(whole.shape[:3]))


def test_distance_within_windows():
    found = place_distance(Places(2, 3, torch.tensor([[0, 5, -1]])), (2.0, 1.0))
    assert found.shape == (1, 3, 3)
    assert float(found[0, 0, 1]) == pytest.approx(8**0.5) and float(found[0, 1, 1]) == 0
    assert found[0, 2].isnan().all()


def test_a_pattern_of_another_layer_is_an_error():
    with pytest.raises(ValueError, match="2 windows of 3 tokens"):
        global_pattern(torch.rand(4, 1, 5, 5), Places(2, 3, torch.arange(6).view(2, 3)))
