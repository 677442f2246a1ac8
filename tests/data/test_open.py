import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from archaeology.core.errors import UnknownNameError
from archaeology.data import decode_once, image_sources, open_source

KINDS = [
    "folder",
    "parquet",
    "npz",
    "torchvision",
    "hub",
    "medmnist",
    "cue_conflict",
    "cue_conflict_pairs",
    "shapes2d_pairs",
    "cifar10",
    "cifar100",
    "food101",
]
KINDS += ["pets", "flowers102", "eurosat", "tiny_imagenet", "imagenet"]


def test_all_promised_names_are_there() -> None:
    assert set(KINDS) == set(image_sources)


@pytest.mark.parametrize(
    ("wrong", "right"), [("folders:x", "folder"), ("cifar", "cifar10"), ("cue-conflict", "cue_conflict")]
)
def test_a_wrong_name_gets_the_near_miss(wrong: str, right: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"No image source is called .*did you mean '{right}"):
        open_source(wrong)


@pytest.mark.parametrize(("name", "kind"), [("photos", "folder"), ("a.parquet", "parquet"), ("a.npz", "npz")])
def test_a_bare_path_gets_the_right_kind_suggested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=rf"must be named KIND:WHAT, but got '{name}'; did you mean {kind}:{name}\?"
    ):
        open_source(name)


@pytest.mark.parametrize("kind", ["folder", "parquet", "npz"])
def test_a_kind_alone_is_told_what_is_missing(kind: str) -> None:
    with pytest.raises(ValueError, match=rf"{kind}: must be followed by a .*, for example {kind}:"):
        open_source(f"{kind}:")


@pytest.mark.parametrize("name", ["cifar10", "tiny_imagenet", "cue_conflict", "shapes2d_pairs"])
def test_short_names_take_nothing_behind_a_colon(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"{name} takes nothing behind a colon, but got 'x'; choose with --split"
    ):
        open_source(f"{name}:x")


def test_cue_conflict_opens_in_all_splits_and_is_cached_like_files(tmp_path: Path) -> None:
    assert open_source("cue_conflict").split == "random"
    source = open_source("cue_conflict", split="conflict")
    assert source.split == "conflict" and len(source.classes) == 8
    small = type(source)("conflict", num_images=9)  # type: ignore[call-arg]
    decoded = decode_once(small, (64, 64), folder=tmp_path)
    np.testing.assert_array_equal(decoded.images[4], small.get(4).image.numpy())
    assert decoded.boxes is not None and decoded.masks is not None and decoded.masks.any(axis=(1, 2)).all()
    with pytest.raises(UnknownNameError, match="No split of cue_conflict is called 'test'"):
        open_source("cue_conflict", split="test")


def test_a_home_folder_is_understood(picture: Callable[..., Path], tmp_path: Path) -> None:
    picture(tmp_path / "home" / "photos" / "a.png")
    assert len(open_source("folder:~/photos")) == 1


@pytest.mark.slow  # a fresh interpreter imports torch
def test_importing_data_does_not_import_the_heavy_and_optional_parts() -> None:
    code = (
        "import sys, archaeology.data as d; d.image_sources.names(); "
        "print([name for name in ('torchvision', 'datasets', 'scipy', 'rich', 'timm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
