"""Where trainings start: from a specimen, frozen or not, with a teacher; what is refused, and what goes on."""

import json

import pytest
import torch

from archaeology.models import build
from archaeology.recipes import recipes, run_recipe
from archaeology.recipes.start import heads_of, start_from
from archaeology.specimens.run import load_run
from archaeology.training.layers import freeze, layer_numbers

SHORT = {"batch_size": 20, "epochs": 1, "device": "cpu", "crop_padding": 0, "patch_keep": ()}
CHEAP = {"image_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def origin(data, tmp_path_factory):
    """A run of a small ViT."""
    out = tmp_path_factory.mktemp("origin") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHAEOLOGY_CACHE", str(out.parent / "cache"))
        patch.setitem(recipes._things, "small", small)
        run_recipe("small", out, overrides=SHORT, data=data)
    return out


def small():
    from dataclasses import replace

    return replace(recipes.get("vit_cifar10")(), arguments=CHEAP)


def test_the_body_is_handed_over_and_the_head_is_new(origin):
    start = start_from(f"run:{origin}", 7, (48, 48))
    old = load_run(origin).model.state_dict()
    new = start.model.state_dict()
    assert start.heads == ("head",) and new["head.weight"].shape == (7, 32)
    assert not new["head.weight"].any()
    for name, tensor in old.items():
        if not name.startswith("head") and "positions" not in name:
            assert torch.equal(new[name], tensor), name
    assert start.arguments["image_size"] == 48 and start.model(torch.zeros(1, 3, 48, 48)).shape == (1, 7)


def test_a_model_of_hugging_face_is_taken_over(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        image_size=32,
        patch_size=8,
    )
    torch.manual_seed(2)
    theirs = transformers.ViTForImageClassification(config).eval()
    theirs.save_pretrained(tmp_path / "vit")
    normalised = "?mean=[0.5,0.5,0.5]&std=[0.5,0.5,0.5]"
    start = start_from(f"hf:{tmp_path / 'vit'}{normalised}", 5, (48, 48))
    assert start.heads == ("head",) and start.model(torch.zeros(1, 3, 48, 48)).shape == (1, 5)
    qkv = start.model.state_dict()["blocks.1.attn.qkv.weight"]
    assert torch.equal(qkv[:24], theirs.vit.layers[1].attention.q_proj.weight)
    backbone = transformers.ViTModel(config, add_pooling_layer=False)
    backbone.save_pretrained(tmp_path / "backbone")
    headless = start_from(f"hf:{tmp_path / 'backbone'}{normalised}", 5, (32, 32))
    assert headless.model(torch.zeros(1, 3, 32, 32)).shape == (1, 5)


def test_heads_are_what_depends_on_the_number_of_classes():
    assert len(heads_of("deit", {**CHEAP, "num_classes": 5})) == 2
    assert heads_of("convnet", {"image_size": 32, "num_classes": 5}) == ("head",)


@pytest.mark.parametrize(
    ("spec", "size", "said"),
    [
        ("open_clip:vit", (32, 32), "--start takes a model of ours or one that ours equals"),
        ("timm:resnet18", (32, 32), "No counterpart of a timm model is called 'resnet18'"),
        ("timm:vit_tiny_patch16_225", (32, 32), "did you mean 'vit_tiny_patch16_224'"),
        ("torchvision:resnet18", (32, 32), "did you mean 'resnet50'"),
        ("timm:vit_tiny_patch16_224?pretrained=false&depth=3", (32, 32), "but has depth; classes and image"),
        ("timm:vit_tiny_patch16_224?pretrained=false", (40, 40), "patch_size must divide image_size"),
        ("torchvision:resnet50?pretrained=false", (16, 16), "image_size must be at least 32 pixels"),
        ("run:ORIGIN", (36, 36), "patch_size must divide image_size"),
        ("run:ORIGIN", (32, 48), "takes square images"),
        ("run:/nowhere", (32, 32), "there is no folder"),
    ],
)
def test_what_cannot_be_started_from_is_told(origin, spec, size, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        start_from(spec.replace("ORIGIN", str(origin)), 3, size)


def test_a_frozen_backbone_stays_as_it_was(origin, data, tmp_path, monkeypatch):
    monkeypatch.setitem(recipes._things, "small", small)
    out = tmp_path / "frozen"
    run_recipe("small", out, overrides={**SHORT, "freeze": "backbone"}, data=data, origin=f"run:{origin}")
    before, after = load_run(origin).model.state_dict(), load_run(out).model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("head"))
    assert not torch.equal(torch.zeros_like(after["head.weight"]), after["head.weight"])
    facts = json.loads((out / "config.json").read_text())["facts"]
    assert facts["origin"] == f"run:{origin}" and facts["frozen"] > 10


def test_the_first_blocks_can_be_frozen():
    model = build("vit", {**CHEAP, "num_classes": 3})
    frozen = freeze(model, "blocks:1", ("head",))
    assert "patch_embed.weight" in frozen and "blocks.0.attn.qkv.weight" in frozen
    assert not any(name.startswith(("blocks.1", "norm", "head")) for name in frozen)
    with pytest.raises(
        ValueError, match="freeze must name at most the 2 blocks that there are, but got 'blocks:3'"
    ):
        freeze(model, "blocks:3", ("head",))


def test_depths_rise_from_the_pixels_to_the_answer():
    model = build("swin", {"image_size": 32, "patch_size": 2, "window": 4, "embed_dim": 24, "num_classes": 3})
    numbers = layer_numbers(name for name, _ in model.named_parameters())
    ordered = list(numbers.values())
    assert ordered == sorted(ordered) and ordered[0] == 0 and len(set(ordered)) > 4


def test_a_teacher_must_know_the_same_classes(origin, data, tmp_path, monkeypatch):
    monkeypatch.setitem(recipes._things, "small", small)
    with pytest.raises(
        ValueError, match="a teacher must know the classes of the data, in their order, but bundled"
    ):
        run_recipe(
            "small",
            tmp_path,
            overrides={**SHORT, "distill": "hard"},
            data=data,
            teacher="bundled:convnet_cifar10",
        )
    with pytest.raises(ValueError, match="--distill soft needs a teacher"):
        run_recipe("small", tmp_path, overrides={**SHORT, "distill": "soft"}, data=data)
    with pytest.raises(ValueError, match="needs --distill soft or hard"):
        run_recipe("small", tmp_path, overrides=SHORT, data=data, teacher=f"run:{origin}")


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_a_student_learns_from_a_run(origin, data, tmp_path, monkeypatch, kind):
    monkeypatch.setitem(recipes._things, "small", small)
    run_recipe("small", tmp_path, overrides={**SHORT, "distill": kind}, data=data, teacher=f"run:{origin}")
    assert json.loads((tmp_path / "run.json").read_text())["teacher"] == f"run:{origin}"
    assert not (tmp_path / "state").exists()


def test_a_finished_run_is_not_overwritten(origin, data, monkeypatch):
    monkeypatch.setitem(recipes._things, "small", small)
    before = (origin / "model.safetensors").read_bytes()
    with pytest.raises(
        ValueError, match="holds a finished run, which is not overwritten; choose another --out"
    ):
        run_recipe("small", origin, overrides=SHORT, data=data)
    assert (origin / "model.safetensors").read_bytes() == before


def test_a_killed_run_goes_on(data, tmp_path, monkeypatch):
    from archaeology.recipes import images

    monkeypatch.setitem(recipes._things, "small", small)
    config = {**SHORT, "epochs": 3, "patch_keep": ((0.0, 0.5),)}
    run_recipe("small", tmp_path / "whole", overrides=config, data=data)
    real, calls = images.accuracy, []

    def killed(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **keywords)

    monkeypatch.setattr(images, "accuracy", killed)
    with pytest.raises(KeyboardInterrupt):
        run_recipe("small", tmp_path / "parts", overrides=config, data=data)
    monkeypatch.setattr(images, "accuracy", real)
    assert not (tmp_path / "parts" / "run.json").exists()
    run_recipe("small", tmp_path / "parts", overrides=config, data=data)
    whole, parts = (load_run(tmp_path / name).model.state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == sorted(steps)
