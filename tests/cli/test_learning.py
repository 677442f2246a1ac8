"""`archaeology zero-shot` and `compare-learning` as a user meets them."""

import json

import numpy as np
import pytest
import torch

from archaeology.cli.compare_learning import named
from archaeology.core.storage import write_json, write_tensors
from archaeology.data.cache import decode_once
from archaeology.models import ImageText

WORDS = ("a", "blue", "green", "left", "red", "upper")
SIZES = {"image_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A run that reads captions, and pictures of two splits."""
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    text = {"embed_dim": 16, "depth": 1, "num_heads": 2}
    arguments = {"words": WORDS, "max_length": 6, "embed_dim": 12, "image": SIZES, "text": text}
    write_tensors(
        tmp_path / "run" / "model.safetensors", ImageText(**arguments).state_dict(), {"format": "pt"}
    )
    described = {"format": 1, "task": "stream", "recipe": "image_text_x", "architecture": "image_text"}
    write_json(tmp_path / "run" / "config.json", {**described, "arguments": arguments, "facts": {}})
    generator, labels = np.random.default_rng(0), np.arange(45) % 3
    train, test = (generator.integers(0, 255, (45, 32, 32, 3), dtype=np.uint8) for _ in range(2))
    arrays = {"train_images": train, "train_labels": labels, "test_images": test, "test_labels": labels}
    np.savez(tmp_path / "a.npz", **arrays)
    return tmp_path


NAME = ("zero-shot", "run:run", "--data", "npz:a.npz", "--split", "test")


def test_naming(place, run):
    code, out, _ = run(*NAME, "--classes", "red", "green", "blue", "--json")
    told = json.loads(out)
    assert code == 0 and told["n"] == 45 and told["classes"] == ["red", "green", "blue"]
    assert [row["template"] for row in told["templates"]] == ["a {}", "a {}, upper left", "a {}, left"]
    assert all((place / file).is_file() for file in told["files"])
    code, out, _ = run(*NAME, "--classes", "red", "green", "blue", "--template", "a {}", "--count", "9")
    assert code == 0 and "of 9 images are named rightly" in out and "chance among 3 classes" in out


def test_only_what_is_named_is_decoded(place, run, monkeypatch):
    decoded_of = []

    def watched(source, size, **more):
        decoded_of.append(len(source))
        return decode_once(source, size, **more)

    monkeypatch.setattr("archaeology.data.decode_once", watched)
    code, _, _ = run(*NAME, "--classes", "red", "green", "blue", "--count", "9")
    assert code == 0 and decoded_of == [9]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--classes", "red", "green"), "must give a name for each of the 3 classes of npz:a.npz"),
        (("--classes", "red", "red", "blue"), "'red' comes twice"),
        (("--classes", "red", "pink", "blue"), "has pink; known are a, blue"),
        (("--classes", "red", "green", "blue", "--template", "a photo"), "'a photo' has none"),
    ],
)
def test_naming_mistakes(place, run, words, said):
    code, _, err = run(*NAME, *words)
    assert code == 2 and said in err


def test_a_model_without_words(place, run):
    words = ("zero-shot", "bundled:vit_cifar10", "--data", "npz:a.npz", "--split", "test")
    code, _, err = run(*words)
    assert code == 2 and "has no text side" in err


def test_names_of_models():
    assert named(["dino=run:x", "timm:vit?pretrained=false"]) == (
        {"run:x": "dino"},
        ["run:x", "timm:vit?pretrained=false"],
    )


def test_comparing(place, run):
    words = (
        "compare-learning",
        "words=run:run",
        "--data",
        "npz:a.npz",
        "--few",
        "0",
        "--attention-images",
        "4",
    )
    code, out, err = run(*words, "--json", "--out", "found")
    assert code == 0, err
    told = json.loads(out)
    assert [subject["name"] for subject in told["subjects"]] == [
        "words",
        "random weights of words",
        "raw pixels",
    ]
    assert told["subjects"][0]["way"] in ("image-text", "unknown")
    assert (place / "found" / "ways_of_learning.svg").is_file()
    code, _, err = run("compare-learning", "--data", "npz:a.npz")
    assert code == 2 and "at least one specimen" in err
