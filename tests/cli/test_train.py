"""`archaeology train` as a user meets it: options over a recipe, a check before it, mistakes in one message."""

import json

import numpy as np
import pytest
from PIL import Image

from archaeology.cli.main import main
from archaeology.cli.overrides import NOT_FOR_WORDS, Overrides, given
from archaeology.training.config import TrainConfig

QUICK = "--epochs 1 --batch-size 10 --device cpu --dtype float32 --threads 1 --policy none".split()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Ten images of two colours for each of train and test."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name, tint in (("day", 220), ("night", 30)):
            (folder / split / name).mkdir(parents=True)
            for number in range(5):
                pixels = (tint + rng.integers(-20, 20, (32, 32, 3))).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return f"folder:{folder}"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))


def test_every_field_of_the_configuration_is_an_option_and_none_is_given_by_itself():
    assert set(Overrides.model_fields) | set(NOT_FOR_WORDS) == set(TrainConfig.model_fields)
    assert given(Overrides()) == {}
    assert given(Overrides(flip=False, compile=True, budget="90s")) == {
        "flip": False,
        "compile": True,
        "budget": "90s",
    }


def test_options_reach_the_run_and_the_result_is_one_document(tmp_path, capsys, photos, run):
    words = (
        "vit_cifar10",
        "--data",
        photos,
        "--out",
        tmp_path / "run",
        *QUICK,
        "--flip",
        "False",
        "--clip",
        "1",
    )
    code, out, _ = run("train", *words, "--accumulate", "2", "--ema", "0.9", "--mixup", "0.2", "--json")
    told = json.loads(out)
    assert code == 0 and told["run"] == str(tmp_path / "run") and told["accuracy"]["n"] == 10
    config = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert (
        config["flip"] is False and config["clip"] == 1 and config["accumulate"] == 2 and config["ema"] == 0.9
    )
    main(["doctor", str(tmp_path / "run"), "--data", photos])  # which has two splits; the run knows which one
    assert "attention was looked at on 10 images" in capsys.readouterr().out
    (line, *_) = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"loss", "gradient_norm", "learning_rate", "images_per_second", "seconds_left"} <= set(line)


def test_one_batch_is_learned_by_heart_and_nothing_is_written(tmp_path, run, photos):
    out = tmp_path / "run"
    words = ("convnet_cifar10", "--data", photos, "--out", out, *QUICK, "--overfit-one-batch")
    code, said, _ = run("train", *words)
    assert code == 0 and "one batch was learned by heart in" in said and not out.exists()


def test_a_finished_run_is_refused_until_restart_is_given(tmp_path, run, photos):
    words = ("convnet_cifar10", "--data", photos, "--out", tmp_path / "run", *QUICK)
    assert run("train", *words)[0] == 0
    code, out, err = run("train", *words)
    assert code == 2 and out == "" and "holds a finished run, which is not overwritten" in err
    assert run("train", *words, "--restart", "--seed", "1")[0] == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["seed"] == 1


def test_a_training_that_breaks_says_so_and_leaves_its_batch(tmp_path, run, photos):
    words = ("vit_cifar10", "--data", photos, "--out", tmp_path / "run", *QUICK, "--epochs", "40")
    code, _, err = run("train", *words, "--optimizer", "adamw", "--learning-rate", "1e30", "--warmup", "0")
    assert code == 1 and "The loss must stay finite" in err and "archaeology doctor" in err
    assert (tmp_path / "run" / "failed_batch.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("vit_cifar1",), "vit_cifar10"),
        (("vit_cifar10", "--freeze", "head"), "freeze must be none, backbone or blocks:N"),
        (("vit_cifar10", "--budget", "soon"), "a duration must look like 90s, 10m or 1.5h"),
        (("vit_cifar10", "--epsilon", "8"), "did you mean 8/255?"),
        (("vit_cifar10", "--adversarial", "pgd", "--epsilon", "eight"), "must look like 0.03 or 8/255"),
        (("vit_cifar10", "--accumulate", "3"), "accumulate must divide batch_size"),
        (("vit_cifar10", "--schedule", "step"), "one_cycle"),
        (("vit_cifar10", "--distill", "soft", "--data", "PHOTOS"), "needs a teacher"),
        (("vit_cifar10", "--teacher", "bundled:vit_cifar10", "--data", "PHOTOS"), "--distill soft or hard"),
        (("vit_tiny_imagenet20",), "must be given as files"),
        (("shapes1d_attention", "--data", "folder:x"), "--data must be left out"),
    ],
)
def test_mistakes_are_told_in_one_message(tmp_path, run, photos, words, said):
    words = [photos if word == "PHOTOS" else word for word in words]
    code, out, err = run("train", *words, "--out", tmp_path / "run")
    assert code == 2 and out == "" and said in err
    assert not (tmp_path / "run" / "run.json").exists()
