"""A Swin for small images: what each stage sees, what windows forbid, and how capture and specimens take it."""

import pytest
import torch

from archaeology.capture.checks import check_capture
from archaeology.capture.record import capture
from archaeology.models import Swin, build, set_drop_path
from archaeology.models.swin import PatchMerging
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.load import load
from archaeology.training.checkpoint import save_checkpoint

TINY = {"image_size": 16, "embed_dim": 16, "depths": (2, 1), "num_heads": (2, 4), "num_classes": 5}


def tiny(**changes):
    torch.manual_seed(0)
    model = Swin(**{**TINY, **changes})
    for name, parameter in model.named_parameters():
        if name.endswith((".table", "head.weight")):
            torch.nn.init.normal_(parameter)
    return model.eval()


@pytest.mark.parametrize(
    ("changes", "grids"),
    [
        ({}, [(8, 8), (4, 4)]),
        ({"image_size": (20, 12)}, [(10, 6), (5, 3)]),
        ({"image_size": (14, 14), "depths": (1, 2, 1), "num_heads": (1, 2, 4)}, [(7, 7), (4, 4), (2, 2)]),
    ],
)
def test_maps_are_halved_and_examples_kept_apart(changes, grids):
    model = tiny(**changes)
    assert model.grids == grids
    images = torch.randn(3, 3, *model.image_size)
    together = model(images)
    assert together.shape == (3, 5)
    for index in range(3):
        torch.testing.assert_close(model(images[index : index + 1])[0], together[index], atol=1e-5, rtol=1e-4)


def test_first_answers_know_nothing_and_every_parameter_learns():
    assert not bool(Swin(**TINY)(torch.randn(2, 3, 16, 16)).any())
    model = tiny().train()
    set_drop_path(model, 0.1)
    assert [
        module.rate for stage in model.stages for module in stage.modules() if hasattr(module, "rate")
    ] == (pytest.approx([0, 0.05, 0.1]))
    set_drop_path(model, 0.0)
    model(torch.randn(2, 3, 16, 16)).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert silent == []


def test_four_neighbours_become_one_token():
    merging = PatchMerging((3, 2), 2, 1e-5)
    tokens = torch.arange(12.0).view(1, 6, 2)
    for name in ("norm", "reduction"):
        setattr(merging, name, torch.nn.Identity())
    assert merging(tokens).tolist() == [[[0, 1, 4, 5, 2, 3, 6, 7], [8, 9, 0, 0, 10, 11, 0, 0]]]


def test_news_stays_in_its_window_until_windows_are_shifted():
    """An 8 x 8 map of windows of 4: after one block only the window knows, after the second its neighbours too."""
    model = tiny(depths=(2,), num_heads=(2,))
    tokens = torch.randn(1, 64, 16)
    changed = tokens.clone()
    changed[:, 3 * 8 + 3] = torch.randn(16)  # the last of the first window

    (stage,) = model.stages
    first_block, second_block = stage.get_submodule("blocks").children()

    def reached(blocks):
        before, after = tokens, changed
        for block in blocks:
            before, after = block(before), block(after)
        return (before - after).abs().sum(dim=2).view(8, 8) > 0

    first, both = reached([first_block]), reached([first_block, second_block])
    assert bool(first[:4, :4].all()) and int(first.sum()) == 16
    assert bool(both[:6, :6].all()) and int(both.sum()) == 36


@pytest.fixture
def run(tmp_path):
    model = tiny()
    save_checkpoint(
        tmp_path,
        model.state_dict(),
        architecture="swin",
        arguments=TINY,
        classes=list("abcde"),
        image_size=(16, 16),
        mean=[0.5] * 3,
        std=[0.5] * 3,
        facts={},
    )
    return model, tmp_path


def test_a_run_of_it_is_a_specimen_with_windows(run):
    model, folder = run
    specimen = load(f"run:{folder}", device="cpu")
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(specimen.predict(images), model((images - 0.5) / 0.5))
    assert specimen.layout == TokenLayout(4, 4, (), "mean", "windows")
    assert (specimen.kind, specimen.target_layer) == ("transformer", "stages.1.blocks.0.norm1")


def test_capture_sees_every_window_on_the_map_of_its_stage(run):
    specimen = load(f"run:{run[1]}", device="cpu")
    images = torch.rand(2, 3, 16, 16)
    check_capture(specimen, images)
    record = capture(specimen, images)
    assert [(layer.module, tuple(layer.pattern.shape)) for layer in record.attentions] == [
        ("stages.0.blocks.0.attn", (2, 2, 64, 64)),
        ("stages.0.blocks.1.attn", (2, 2, 64, 64)),
        ("stages.1.blocks.0.attn", (2, 4, 16, 16)),
    ]
    straight, shifted, whole = (layer.pattern > 0 for layer in record.attentions)
    row, column = torch.arange(64) // 8, torch.arange(64) % 8
    for seen, start in ((straight, 0), (shifted, 2)):
        window = (row - start).div(4, rounding_mode="floor") * 10 + (column - start).div(
            4, rounding_mode="floor"
        )
        assert bool((seen == (window[:, None] == window)).all())
    assert bool(whole.all())


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match=r"patch_size must divide image_size, but got image_size=\(15, 15\)"):
        Swin(15)
    with pytest.raises(
        ValueError, match=r"one positive number for each stage, but got depths=\[2\], num_heads=\[2, 4\]"
    ):
        Swin(depths=(2,), num_heads=(2, 4))
    with pytest.raises(ValueError, match=r"num_heads must divide .* got num_heads=\[3, 4\] for \[16, 32\]"):
        Swin(embed_dim=16, depths=(1, 1), num_heads=(3, 4))
    with pytest.raises(ValueError, match=r"images must be \(16, 16\) pixels, but got \(12, 16\)"):
        tiny()(torch.randn(1, 3, 12, 16))
    with pytest.raises(ValueError, match="norm must be one of pre, post"):
        build("swin", {"norm": "none"})
