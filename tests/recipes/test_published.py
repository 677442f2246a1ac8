"""Trainings that start from published weights: what is handed over, and the recipes for larger machines."""

import numpy as np
import pytest
import timm
import torch
from torchvision.models import resnet50 as torchvisions_resnet50

from archaeology.core.errors import UnknownNameError
from archaeology.data.places import data_folder
from archaeology.models import build
from archaeology.recipes import Recipe, recipes, run_recipe
from archaeology.recipes._fine_tuning import part_of
from archaeology.recipes.origin import find_origin
from archaeology.recipes.start import start_from
from archaeology.specimens.run import load_run
from archaeology.training.optimizers import make_optimizer

#: Recipe -> classes of its data, side of its images, name of its data.
LARGE = {
    "vit_base_food101": (101, 300, "food101"),
    "vit_base_eurosat": (10, 64, "eurosat"),
    "vit_base_pathmnist": (9, 28, "medmnist/pathmnist"),
    "resnet50_food101": (101, 300, "food101"),
    "resnet50_eurosat": (10, 64, "eurosat"),
    "resnet50_pathmnist": (9, 28, "medmnist/pathmnist"),
}


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ARCHAEOLOGY_DATA", str(tmp_path / "named"))


def generated(num_classes, side, name, *, splits=("train", "test"), count=6):
    """A few images of noise in the place where data of this name are looked for."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split in splits:
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count)[:, None] % num_classes
        arrays[f"{split}_labels"][-1] = num_classes - 1
    file = data_folder() / (f"{name}.npz" if "/" in name else f"{name}/images.npz")
    file.parent.mkdir(parents=True)
    np.savez(file, **arrays)


def test_a_start_from_timm_answers_as_timm_does():
    spec = "timm:vit_tiny_patch16_224?pretrained=false&seed=3"
    torch.default_generator.manual_seed(3)
    theirs = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=1000).eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        origin = find_origin(spec)
        torch.testing.assert_close(origin.model.eval()(images), theirs(images), atol=1e-5, rtol=1e-5)
        assert origin.mean == origin.std == (0.5, 0.5, 0.5)
        start = start_from(spec, 7, (224, 224))
        features = theirs.forward_features(images)[:, 0]
        start.model.get_submodule("head").weight.copy_(theirs.head.weight[:7])
        start.model.get_submodule("head").bias.copy_(theirs.head.bias[:7])
        expected = theirs.head(features)[:, :7]
        torch.testing.assert_close(start.model.eval()(images), expected, atol=1e-5, rtol=1e-5)
    assert start.heads == ("head",)


def test_its_positions_are_stretched_to_other_images():
    spec = "timm:deit_tiny_distilled_patch16_224?pretrained=false"
    start = start_from(spec, 5, (96, 96))
    old, new = find_origin(spec).model.state_dict(), start.model.state_dict()
    assert old["positions.table"].shape[1] == 196 and new["positions.table"].shape[1] == 36
    assert set(start.heads) == {"head", "head_distillation"}
    same = [name for name in old if not name.startswith(("head", "positions"))]
    assert len(same) > 100 and all(torch.equal(old[name], new[name]) for name in same)


def test_a_start_from_torchvision_answers_as_torchvision_does():
    origin = find_origin("torchvision:resnet50?pretrained=false&seed=1")
    torch.default_generator.manual_seed(1)
    theirs = torchvisions_resnet50(weights=None).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(origin.model.eval()(images), theirs(images))
    assert origin.mean == (0.485, 0.456, 0.406) and getattr(origin.model, "target_layer", "") == "layer4"


@pytest.mark.parametrize("name", LARGE)
def test_each_builds(name):
    recipe = recipes.get(name)()
    assert isinstance(recipe, Recipe) and recipe.origin is not None
    assert "not measured" in (recipes.get(name).__doc__ or "")
    with torch.device("meta"):
        model = build(recipe.architecture, {**recipe.arguments, "num_classes": LARGE[name][0]})
    size = sum(parameter.numel() for parameter in model.parameters())
    assert size > (85e6 if name.startswith("vit") else 23e6)
    groups = make_optimizer(model, recipe.config).param_groups
    rates = {group["full_lr"] for group in groups}
    if name.startswith("vit"):  # from block to block, lowest at the pixels
        assert len(rates) == 14 and min(rates) == pytest.approx(5e-4 * 0.75**13)
    else:
        assert rates == {5e-4}


@pytest.mark.parametrize("name", LARGE)
def test_each_finds_its_data(name):
    num_classes, side, place = LARGE[name]
    generated(num_classes, side, place)
    recipe = recipes.get(name)()
    (training,) = recipe.training_images(None)
    test = recipe.test_images(None)
    assert training.images.shape == test.images.shape == (6, 3, 224, 224)
    assert len(training.classes) == len(test.classes) == num_classes
    assert training.fingerprint != test.fingerprint


def test_a_data_set_without_parts_is_divided():
    generated(10, 64, "eurosat", splits=("train",), count=50)
    train, test = part_of("eurosat", "train"), part_of("eurosat", "test")
    assert (len(train), len(test)) == (40, 10)
    assert not set(train.ids) & set(test.ids) and len({*train.ids, *test.ids}) == 50
    assert np.bincount(test.labels, minlength=10).max() == 1  # evenly from every class
    with pytest.raises(UnknownNameError, match="eurosat"):
        part_of("eurosad", "train")
    with pytest.raises(UnknownNameError, match="No split of"):
        part_of_two_others()


def part_of_two_others():
    generated(10, 64, "food101", splits=("left", "right"))
    return part_of("food101", "train")


def test_weights_that_cannot_be_had_are_told(monkeypatch):
    from archaeology.specimens import fetching

    monkeypatch.setattr(fetching, "answers", lambda url, seconds=0: False)
    monkeypatch.setenv("HF_HOME", "/nowhere")
    with pytest.raises(ConnectionError, match=r"random weights come with .*\?pretrained=false"):
        find_origin("torchvision:resnet50")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("vit_base_eurosat", "timm:vit_base_patch16_224?pretrained=false"),
        ("resnet50_pathmnist", "torchvision:resnet50?pretrained=false"),
    ],
)
def test_three_steps_of_the_real_thing(name, origin, tmp_path):
    generated(*LARGE[name])
    few = {"batch_size": 2, "epochs": 1, "device": "cpu", "dtype": "float32", "log_every": 1}
    result = run_recipe(name, tmp_path / "run", overrides=few, origin=origin)
    assert result.accuracy.n == 6
    specimen = load_run(tmp_path / "run")
    assert len(specimen.classes) == LARGE[name][0] and specimen.image_size == (224, 224)
    assert specimen.target_layer is not None
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert sum('"loss"' in line for line in lines) == 3
    before = find_origin(origin).model.state_dict()
    moved = [key for key, tensor in specimen.model.state_dict().items() if apart(tensor, before[key])]
    assert len(moved) > 100


def apart(one, other):
    return one.shape == other.shape and not torch.equal(one, other)
