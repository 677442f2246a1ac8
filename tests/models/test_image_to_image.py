"""Models from image to image: shapes, gradients, independence, seams, positions, and clear refusals."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from archaeology.core.errors import UnknownNameError
from archaeology.models import EncoderDecoder, UNet, build
from archaeology.models.patch_canvas import PatchCanvas, hann

SIZE = 24
SMALL = {"image_size": SIZE, "patch_size": 8, "embed_dim": 24, "num_heads": 3}
POSITIONS = ["none", "linear", "learnable", "sinusoidal", "rotary", "alibi", "relative_bias"]
MODELS = {
    "unet": ("unet", {"image_size": SIZE, "widths": [5, 6, 7]}),
    "encoder": ("encoder_decoder", SMALL | {"decoder_depth": 0}),
    "decoder": ("encoder_decoder", SMALL | {"encoder_depth": 0}),
    "linear": ("encoder_decoder", SMALL | {"stem": "linear"}),
    "places": ("encoder_decoder", SMALL | {"queries": "places"}),
    "places none": ("encoder_decoder", SMALL | {"queries": "places", "positions": "none"}),
    "places rotary": ("encoder_decoder", SMALL | {"queries": "places", "positions": "rotary"}),
    "places learnable": ("encoder_decoder", SMALL | {"queries": "places", "positions": "learnable"}),
} | {name: ("encoder_decoder", SMALL | {"positions": name}) for name in POSITIONS}


def small(name):
    torch.manual_seed(0)
    return build(*MODELS[name]).eval()


@pytest.mark.parametrize("name", MODELS)
def test_images_in_images_out_each_for_itself(name):
    model, images = small(name), torch.rand(3, 3, SIZE, SIZE)
    together = model(images)
    assert together.shape == images.shape and together.dtype == torch.float32
    size = float(together.detach().std())
    assert size < 0.2  # near zero before training, so what differs is measured against what is there
    for index in range(3):
        alone = model(images[index : index + 1])[0]
        torch.testing.assert_close(alone / size, together[index] / size, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_learns(name):
    model = small(name).train()
    model(torch.rand(2, 3, SIZE, SIZE)).square().sum().backward()
    silent = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


@pytest.mark.parametrize("name", ["encoder", "decoder", "sinusoidal", "rotary", "linear", "places"])
def test_every_pixel_of_the_answer_depends_on_every_patch(name):
    model, images = small(name), torch.rand(1, 3, SIZE, SIZE, requires_grad=True)
    model(images)[0, :, 3, 4].sum().backward()
    patches = images.grad[0].abs().sum(dim=0).unfold(0, 8, 8).unfold(1, 8, 8).sum(dim=(2, 3))
    assert bool((patches > 0).all())


def test_attention_has_names_that_say_what_it_looks_at():
    names = {name for name, _ in small("sinusoidal").named_modules()}
    expected = {f"{part}.{layer}.attn" for part in ("encoder", "decoder") for layer in (0, 1)}
    assert expected | {"decoder.0.cross", "decoder.1.cross"} <= names


def test_queries_know_their_place_and_nothing_else():
    model = small("places")
    seen = []
    model.decoder[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(torch.rand(1, 3, SIZE, SIZE)), model(torch.rand(1, 3, SIZE, SIZE))
    torch.testing.assert_close(seen[0], seen[1])
    assert float(torch.pdist(seen[0][0]).detach().min()) > 0.1


def test_patches_as_queries_know_what_they_show():
    model, images = small("sinusoidal"), torch.rand(2, 3, SIZE, SIZE)
    seen = []
    model.decoder[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(images)
    torch.testing.assert_close(seen[0], model.positions(model.patch_embed(images)))


def test_keys_of_queries_by_place_start_out_projected_as_queries():
    for block in small("places").decoder:
        tokens = torch.randn(2, 5, 24)
        torch.testing.assert_close(block.cross.kv(tokens)[..., :24], block.cross.q(tokens))


def test_without_positions_all_queries_by_place_find_the_same():
    model = small("places none")
    patches = model.patch_embed(torch.rand(1, 3, SIZE, SIZE))
    answers = model.decode(patches, model.encode(patches))
    torch.testing.assert_close(answers, answers[:, :1].expand_as(answers))


def test_without_positions_the_order_of_the_patches_does_not_matter_to_the_encoder():
    images = torch.rand(2, 3, SIZE, SIZE)
    shuffled = images.roll(8, dims=3)  # one patch to the right, around the edge
    torch.manual_seed(0)
    model = build("encoder_decoder", SMALL | {"positions": "none", "stem": "linear"}).eval()
    tokens = model.encode(model.patch_embed(images)).unflatten(1, (3, 3))
    again = model.encode(model.patch_embed(shuffled)).unflatten(1, (3, 3))
    torch.testing.assert_close(again, tokens.roll(1, dims=2))


def test_queries_know_places_as_sinusoidal_features_where_positions_act_inside_attention():
    rotary = small("places rotary")
    assert rotary.places.kind == "sinusoidal" and rotary.positions.kind == "none"
    learnable = small("places learnable")
    assert learnable.places is learnable.positions and learnable.places.kind == "learnable"


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_holds_every_number_once_and_brings_the_model_back(name, tmp_path):
    model, images = small(name), torch.rand(2, 3, SIZE, SIZE)
    save_file(model.state_dict(), tmp_path / "model.safetensors")  # refuses tensors that share memory
    other = build(*MODELS[name]).eval()
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    torch.testing.assert_close(other(images), model(images), atol=0, rtol=0)


def test_windows_of_neighbours_sum_to_one():
    hill = hann(5)
    torch.testing.assert_close(hill[:5] + hill[5:], torch.ones(5))
    torch.testing.assert_close(hill, hill.flip(0))


def test_tokens_that_agree_leave_no_seams():
    canvas = PatchCanvas((2, 3), 8, 7)
    windows = torch.full((1, 6, 1, 8, 8), 3.5) * canvas.window
    torch.testing.assert_close(canvas.overlapped(windows) / canvas.total, torch.full((1, 1, 8, 12), 3.5))


def test_a_window_lies_over_the_middle_of_its_patch():
    canvas = PatchCanvas((3, 5), 8, 7)
    windows = torch.zeros(1, 15, 1, 8, 8)
    windows[0, 1 * 5 + 2] = torch.arange(64.0).reshape(8, 8) + 1
    laid = canvas.overlapped(windows)[0, 0]
    expected = torch.zeros(12, 20)
    expected[2:10, 6:14] = windows[0, 7, 0]  # patch (1, 2) begins at (4, 8), its window two places before
    torch.testing.assert_close(laid, expected)


def test_overlapping_is_what_fold_computes():
    canvas, windows = PatchCanvas((2, 3), 8, 7), torch.randn(2, 6, 5, 8, 8)
    folded = torch.nn.functional.fold(
        windows.flatten(2).transpose(1, 2), output_size=(8, 12), kernel_size=8, padding=2, stride=4
    )
    torch.testing.assert_close(canvas.overlapped(windows), folded)


def test_a_unet_of_one_width_sees_neighbourhoods_only_and_a_deep_one_sees_all():
    def reach(widths):
        torch.manual_seed(0)
        model, images = UNet(SIZE, widths=widths).eval(), torch.rand(1, 3, SIZE, SIZE, requires_grad=True)
        model(images)[0, :, 0, 0].sum().backward()
        return images.grad[0].abs().sum(dim=0) > 0

    assert int(reach([4]).sum()) == 9
    assert bool(reach([4, 5, 6, 7]).any(dim=0).all())


def test_sizes_by_default_are_comparable():
    counts = [sum(value.numel() for value in model.parameters()) for model in (UNet(), EncoderDecoder())]
    assert min(counts) > 750_000 and max(counts) < 1_100_000


@pytest.mark.parametrize("maker", [UNet, EncoderDecoder])
def test_images_of_another_size_are_refused(maker):
    with pytest.raises(ValueError, match=r"images must be \(128, 128\) pixels, but got \(64, 128\)"):
        maker()(torch.rand(2, 3, 64, 128))


@pytest.mark.parametrize(
    ("maker", "arguments", "message"),
    [
        (UNet, {"image_size": 36, "widths": (3, 4, 5, 6)}, "image_size must be divisible by 2 for each"),
        (UNet, {"widths": ()}, "image_size must be divisible by 2 for each"),
        (EncoderDecoder, {"patch_size": 12}, "patch_size must divide image_size and be divisible by 4"),
        (EncoderDecoder, {"patch_size": 2}, "patch_size must divide image_size and be divisible by 4"),
        (EncoderDecoder, {"encoder_depth": 0, "decoder_depth": 0}, "not both 0, but got encoder_depth=0"),
        (EncoderDecoder, {"encoder_depth": -1}, "must be >= 0 and not both 0"),
        (EncoderDecoder, {"num_heads": 5}, "num_heads must divide embed_dim, but got embed_dim=128"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(maker, arguments, message):
    with pytest.raises(ValueError, match=message):
        maker(**arguments)


def test_an_unknown_scheme_of_positions_is_refused():
    with pytest.raises(UnknownNameError, match="sinusodal"):
        EncoderDecoder(positions="sinusodal")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stem": "deep"}, "stem must be one of convolutional, linear, but got 'deep'"),
        ({"queries": "words"}, "queries must be one of patches, places, but got 'words'"),
        ({"patch_size": 12}, r"power of two, at least 4, but got patch_size=12; .* stem='linear'"),
    ],
)
def test_unknown_ends_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        build("encoder_decoder", SMALL | wrong)


def test_a_patch_by_itself_or_with_what_lies_over_its_edge():
    images = torch.zeros(1, 3, SIZE, SIZE, requires_grad=True)
    for stem, side in (("linear", 8), ("convolutional", 8 + 2 * 2 + 2 * 4)):
        model = build("encoder_decoder", SMALL | {"stem": stem, "positions": "none"})
        tokens = model.patch_embed(images).unflatten(1, (3, 3))
        (gradient,) = torch.autograd.grad(tokens[0, 1, 1].sum(), images)
        seen = gradient[0].abs().sum(dim=0) > 0
        assert int(seen.any(dim=0).sum()) == side and int(seen.any(dim=1).sum()) == side
