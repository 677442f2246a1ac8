"""`archaeology represent`: a table, figures and JSON; wrong words are answered with what to do."""

import json
import re

import pytest
import torch

from archaeology.cli.main import main
from archaeology.models import build
from archaeology.training.checkpoint import save_checkpoint

CLASSES = ("disc", "square", "triangle", "cross", "star", "ring", "crescent", "heart")
VIT = {"image_size": 64, "patch_size": 16, "num_classes": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
CNN = {"image_size": 64, "num_classes": 8, "widths": (8, 8)}


def save(folder, architecture, arguments):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(architecture, arguments)
        torch.nn.init.normal_(model.head.weight)
    save_checkpoint(
        folder,
        model.state_dict(),
        architecture=architecture,
        arguments=arguments,
        classes=CLASSES,
        image_size=(64, 64),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        facts={"recipe": f"random {architecture}"},
    )
    return f"run:{folder}"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield save(folder / "vit", "vit", VIT), save(folder / "cnn", "convnet", CNN)


def test_it_prints_a_table_and_writes_figures_and_json(models, tmp_path, capsys):
    words = ["represent", models[0], "--other", models[1], "--data", "cue_conflict", "--images", "32"]
    assert main([*words, "--maps", "pca", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "blocks.1" in said and "groups.1" in said and "Most like" in said and "Probe" in said
    assert "In which layer is the class readable?" in said and "does not show that the model uses it" in said
    document = json.loads((tmp_path / "out" / "representation.json").read_text())
    assert document["n"] == 32 and document["missing"] == {}
    for name in ("layer_similarity", "layer_reading", "image_map", "nearest_images"):
        for ending in ("png", "svg"):
            assert (tmp_path / "out" / f"{name}.{ending}").stat().st_size > 1000
    assert list(document["maps"]["models"][0]["methods"]) == ["pca"]
    assert len(document["maps"]["models"][0]["right"]) == 32


def test_a_model_alone_prints_one_json_document(models, tmp_path, capsys):
    words = [
        "represent",
        models[1],
        "--data",
        "cue_conflict",
        "--images",
        "16",
        "--parts",
        "similarity",
        "outliers",
    ]
    assert main([*words, "--layers", "groups.0", "groups.1", "--json", "--out", str(tmp_path / "out")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["specimens"][0]["layers"] == ["groups.0", "groups.1"]
    assert [one["second_layers"] for one in document["similarity"]] == [["groups.0", "groups.1"]]
    assert document["missing"]["outliers"].startswith("none of the models has tokens")
    assert "reading" not in document


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--layers", "blocks.9"], "No module of .* is called 'blocks.9'; did you mean 'blocks.1'"),
        (["--parts", "similar"], "did you mean 'similarity'"),
        (["--maps", "tsn"], "did you mean 'tsne'"),
        (["--other-layers", "groups.0"], "name it with --other"),
    ],
)
def test_wrong_words_are_answered(words, match, models, tmp_path, capsys):
    given = [
        "represent",
        models[0],
        "--data",
        "cue_conflict",
        "--images",
        "16",
        "--out",
        str(tmp_path / "out"),
        *words,
    ]
    assert main(given) == 2
    assert re.search(match, capsys.readouterr().err)


def test_too_few_images_are_refused(models, capsys):
    with pytest.raises(SystemExit):
        main(["represent", models[0], "--data", "cue_conflict", "--images", "3"])
    assert "greater than or equal to 8" in capsys.readouterr().err


def test_the_other_must_be_another(models, tmp_path, capsys):
    words = [
        "represent",
        models[0],
        "--other",
        models[0],
        "--data",
        "cue_conflict",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(words) == 2
    assert "--other must be another model than MODEL" in capsys.readouterr().err
