"""What `represent`, `zero-shot` and `compare-learning` say to wrong words and unfit images: a message, status 2."""

import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from archaeology.core.storage import write_json, write_tensors
from archaeology.models import ImageText, ViT

SIZES = {"image_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
WORDS = ("a", "bird", "cat", "dog", "left", "upper")


def save(folder, model, config):
    write_tensors(folder / "model.safetensors", model.state_dict(), {"format": "pt"})
    write_json(folder / "config.json", {"format": 1, **config})


def pictures(folder, **counts):
    """A folder of small pictures for each class; a class "loose" lies in the folder itself."""
    for name, count in counts.items():
        place = folder if name == "loose" else folder / name
        place.mkdir(parents=True, exist_ok=True)
        for row in range(count):
            pixels = np.random.default_rng([row, *name.encode()]).integers(0, 255, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(place / f"{row}.png")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A classifier, a model that reads, and folders that are each wrong in their own way."""
    place = tmp_path_factory.mktemp("made")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        arguments = {**SIZES, "num_classes": 2}
        about = {"architecture": "vit", "arguments": arguments, "image_size": [32, 32], "facts": {}}
        about |= {"classes": ["cat", "dog"], "mean": [0.5] * 3, "std": [0.5] * 3}
        save(place / "vit", ViT(**arguments), about)
        tower = {"embed_dim": 16, "depth": 1, "num_heads": 2}
        arguments = {"words": WORDS, "max_length": 6, "embed_dim": 12, "image": SIZES, "text": tower}
        about = {"task": "stream", "recipe": "image_text_x", "architecture": "image_text"}
        save(place / "words", ImageText(**arguments), {**about, "arguments": arguments, "facts": {}})
    pictures(place / "good", cat=8, dog=8)
    pictures(place / "lone", cat=8, dog=8, bird=1)
    pictures(place / "few", cat=3, dog=3)
    pictures(place / "single", cat=9)
    pictures(place / "plain", loose=9)
    pictures(place / "text", cat=4, dog=4)
    (place / "text" / "cat" / "no.png").write_text("not an image")
    (place / "empty").mkdir()
    arrays = {"images": np.zeros((4, 8, 8, 3), np.uint8), "labels": np.arange(4) % 2}
    np.savez(
        place / "parts.npz",
        **{f"{part}_{key}": array for part in ("train", "test") for key, array in arrays.items()},
    )
    return place


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


REPRESENT = ("represent", "run:vit")
NAMING = ("zero-shot", "run:words")
LEARNING = ("compare-learning", "run:vit", "--few", "0", "--attention-images", "0", "--no-floors")
EVERY = {"represent": REPRESENT, "zero-shot": NAMING, "compare-learning": LEARNING}


@pytest.mark.parametrize("command", EVERY)
@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--data", "folder:empty"), "empty must hold images .* but holds none"),
        (("--data", "folder:nowhere"), "nowhere must be a folder of images, but does not exist"),
        (("--data", "folder:text"), r"cat/no\.png must be an image that can be decoded.*--skip-bad"),
        (("--data", "npz:parts.npz", "--split", "valid"), "No split of npz:parts.npz is called 'valid'"),
        (("--data", "folder:good", "--seed", "-1"), "greater than or equal to 0"),
        (
            ("--data", "folder:good", "--out", "parts.npz/x"),
            r"--out must be a folder .* parts\.npz is a file",
        ),
        (("--data", "foldr:good"), "did you mean 'folder'"),
    ],
)
def test_every_command_answers(place, run, command, words, match):
    more = ("--neighbours", "2") if command == "compare-learning" else ()
    code, _, err = run(*EVERY[command], *more, *words)
    assert code == 2 and re.search(match, err, re.DOTALL) and "Traceback" not in err


@pytest.mark.parametrize("command", EVERY)
def test_a_run_that_is_not_there(place, run, command):
    code, _, err = run(command, "run:missing", "--data", "folder:good")
    assert code == 2 and "there is no folder missing" in err


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ((*REPRESENT, "--data", "folder:few"), "at least 8 different images, but got 6"),
        (
            (*REPRESENT, "--data", "folder:good", "--parts"),
            "--parts must name what to measure, but names nothing",
        ),
        ((*NAMING, "--data", "folder:plain"), "none of its 9 images has one; take labelled data"),
        ((*NAMING, "--data", "folder:single"), r"at least two classes to choose from, but got \['cat'\]"),
        ((*NAMING, "--data", "folder:good", "--count", "0"), "greater than or equal to 1"),
        ((*LEARNING, "--data", "folder:plain"), "none of its 9 images has one; take labelled data"),
        (
            (*LEARNING, "--data", "folder:single", "--neighbours", "1"),
            "at least two classes, but are of 1; take",
        ),
        ((*LEARNING, "--data", "folder:good"), r"8 are known and 20 .* ask fewer \(--neighbours\)"),
        ((*LEARNING, "--data", "folder:good", "--neighbours", "0"), "greater than or equal to 1"),
        ((*LEARNING[:2], "--data", "folder:good", "--few", "-1"), "greater than or equal to 0"),
        ((*LEARNING[:2], "--data", "folder:good", "--epsilon", "4"), "less than or equal to 1"),
        (
            (*LEARNING, "--data", "folder:good", "--neighbours", "2", "--transfer", "folder:empty"),
            "holds none",
        ),
    ],
)
def test_each_command_answers(place, run, words, match):
    code, _, err = run(*words)
    assert code == 2 and re.search(match, err, re.DOTALL) and "Traceback" not in err


def test_a_class_of_one_image_ends_nothing(place, run):
    code, out, err = run(*REPRESENT, "--data", "folder:lone", "--parts", "reading", "--out", "found")
    assert code == 0 and "k = 1 (%)" in out, err
    code, out, err = run(*LEARNING, "--data", "folder:lone", "--neighbours", "2")
    assert code == 0, err
    assert "note: few-shot of vit was not asked: a class has only 1 known image, fewer than 10 shots" in out


def test_maps_that_nobody_draws_are_left_out(place, run):
    words = ("--data", "folder:good", "--parts", "maps", "--maps", "--out", "found")
    code, out, err = run(*REPRESENT, *words)
    assert code == 0 and "maps: left out, because no method of drawing them was asked for" in out, err


def test_broken_images_are_left_out_where_that_is_asked(place, run):
    code, out, err = run(*NAMING, "--data", "folder:text", "--skip-bad", "--out", "found")
    assert code == 0 and "of 8 images are named rightly" in out, err
    words = (*LEARNING, "--data", "folder:text", "--neighbours", "2", "--skip-bad", "--out", "found")
    code, out, err = run(*words)
    assert code == 0 and "note: of folder:text 1 image could not be read and was left out" in out, err


def test_one_image_is_named(place, run):
    code, out, err = run(*NAMING, "--data", "folder:good", "--count", "1", "--out", "found")
    assert code == 0 and "of 1 image rightly" in out and "note:" not in out, err
