import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from archaeology.core.errors import BadImageError, UnknownNameError
from archaeology.data import decode_once, fingerprint, open_source
from archaeology.data.chosen import ChosenImages
from archaeology.data.sources.folder import FolderSource

Picture = Callable[..., Path]


@pytest.fixture
def photos(tmp_path: Path, picture: Picture) -> Path:
    """Two classes, three images."""
    root = tmp_path / "photos"
    for number, name in enumerate(("dog/b.png", "cat/z.PNG", "cat/deep/a.jpeg")):
        picture(root / name, number)
    return root


def ids(source: FolderSource) -> list[str]:
    return [source.image_id(i) for i in range(len(source))]


def labels(source: FolderSource) -> list[int | None]:
    """The labels one by one, which must be those that are known without decoding."""
    one_by_one = [source.get(i).label for i in range(len(source))]
    assert source.labels() == one_by_one
    return one_by_one


def test_class_folders(photos: Path) -> None:
    source = FolderSource(photos)
    assert source.classes == ("cat", "dog") and source.split is None
    assert source.name == f"folder:{photos}"
    assert ids(source) == ["cat/deep/a.jpeg", "cat/z.PNG", "dog/b.png"]
    assert labels(source) == [0, 0, 1]
    expected = np.asarray(Image.open(photos / "dog" / "b.png")).transpose(2, 0, 1)
    np.testing.assert_array_equal(source.get(2).image.numpy(), expected)


def test_opened_by_name_and_decoded(photos: Path) -> None:
    decoded = decode_once(open_source(f"folder:{photos}"), (8, 8))
    assert decoded.classes == ("cat", "dog") and decoded.labels.tolist() == [0, 0, 1]
    assert decoded.ids[0] == "cat/deep/a.jpeg"


def test_a_flat_folder_is_unlabelled(tmp_path: Path, picture: Picture) -> None:
    for name in ("b.png", "a.png"):
        picture(tmp_path / "flat" / name)
    source = FolderSource(tmp_path / "flat")
    assert (source.classes, ids(source), labels(source)) == ((), ["a.png", "b.png"], [None, None])


def test_one_class_is_allowed_and_warned_about(
    tmp_path: Path, picture: Picture, caplog: pytest.LogCaptureFixture
) -> None:
    picture(tmp_path / "photos" / "cat" / "a.png")
    source = FolderSource(tmp_path / "photos")
    assert source.classes == ("cat",) and labels(source) == [0]
    assert "has one class, cat: accuracies say little" in caplog.text


def test_images_beside_class_folders_have_no_label(
    photos: Path, picture: Picture, caplog: pytest.LogCaptureFixture
) -> None:
    picture(photos / "loose.png")
    source = FolderSource(photos)
    assert ids(source)[-1] == "loose.png" and labels(source) == [0, 0, 1, None]
    assert "1 images lie in no class folder and have no label" in caplog.text


@pytest.mark.parametrize(
    ("folders", "wanted", "chosen"),
    [
        (("train", "val"), "val", "val"),
        (("training", "Testing"), "test", "Testing"),
        (("train", "validation", "extra"), "val", "validation"),
        (("train", "validation", "extra"), "extra", "extra"),
        (("test",), None, "test"),
    ],
)
def test_split_folders(
    tmp_path: Path, picture: Picture, folders: tuple[str, ...], wanted: str | None, chosen: str
) -> None:
    root = tmp_path / "photos"
    for folder in folders:
        picture(root / folder / "cat" / "a.png")
        picture(root / folder / "dog" / "b.png")
    source = FolderSource(root, wanted)
    assert source.split == chosen and source.classes == ("cat", "dog")
    assert ids(source) == [f"{chosen}/cat/a.png", f"{chosen}/dog/b.png"] and labels(source) == [0, 1]


def test_a_class_absent_from_a_split_does_not_move_the_others(tmp_path: Path, picture: Picture) -> None:
    root = tmp_path / "photos"
    for name in ("train/ant/a.png", "train/bee/a.png", "train/cow/a.png", "test/cow/a.png", "test/b.png"):
        picture(root / name)
    source = FolderSource(root, "test")
    assert source.classes == ("ant", "bee", "cow") and labels(source) == [None, 2]


def test_a_class_may_be_called_test(tmp_path: Path, picture: Picture) -> None:
    for name in ("test", "quiz", "exam"):
        picture(tmp_path / "papers" / name / "a.png")
    assert FolderSource(tmp_path / "papers").classes == ("exam", "quiz", "test")


def test_a_missing_split_lists_the_others(tmp_path: Path, picture: Picture) -> None:
    for split in ("train", "test"):
        picture(tmp_path / "photos" / split / "cat" / "a.png")
    with pytest.raises(UnknownNameError, match=r"No split of folder:.* is called 'val'.*Known: test, train"):
        FolderSource(tmp_path / "photos", "val")
    with pytest.raises(ValueError, match="has the splits test, train; say which"):
        FolderSource(tmp_path / "photos")


def test_a_split_where_there_are_none(photos: Path) -> None:
    with pytest.raises(ValueError, match=r"must have a folder for each split to choose 'test', but has none"):
        FolderSource(photos, "test")


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "readme.txt").write_text("")
    with pytest.raises(
        ValueError, match=r"photos must hold images \(.*\.png.*\), but holds none and 1 other files"
    ):
        FolderSource(tmp_path / "photos")


@pytest.mark.parametrize(("name", "what"), [("nowhere", "does not exist"), ("file.png", "is a file")])
def test_no_folder(tmp_path: Path, picture: Picture, name: str, what: str) -> None:
    picture(tmp_path / "file.png")
    with pytest.raises(FileNotFoundError, match=rf"{name} must be a folder of images, but {what}"):
        FolderSource(tmp_path / name)


def test_other_files_are_ignored_and_counted(
    photos: Path, picture: Picture, caplog: pytest.LogCaptureFixture
) -> None:
    (photos / "cat" / "notes.txt").write_text("x")
    (photos / "dog" / "notes.TXT").write_text("x")
    (photos / "LICENSE").write_text("x")
    picture(photos / ".thumbnails" / "a.png")
    picture(photos / "cat" / "._a.png")
    picture(photos / "__MACOSX" / "cat" / "a.png")
    with caplog.at_level(logging.INFO):
        source = FolderSource(photos)
    assert len(source) == 3 and source.classes == ("cat", "dog")
    assert "3 other files are ignored (.txt 2, LICENSE 1)" in caplog.text
    assert "3 images, 2 classes" in caplog.text


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_bad_image_is_named_with_its_path(
    photos: Path, encoded: Callable[..., bytes], content: bytes | None
) -> None:
    path = photos / "cat" / "bad.jpg"
    path.write_bytes(encoded(format="JPEG", height=64, width=64)[:1500] if content is None else content)
    source = FolderSource(photos)
    with pytest.raises(BadImageError, match=r"photos/cat/bad\.jpg must be an image that can be decoded"):
        source.get(ids(source).index("cat/bad.jpg"))
    with pytest.raises(BadImageError, match=r"cat/bad\.jpg"):
        decode_once(source, (8, 8))
    decoded = decode_once(source, (8, 8), skip_bad=True)
    assert [name for name, _ in decoded.skipped] == ["cat/bad.jpg"] and len(decoded) == 3


def test_a_file_that_went_away_is_a_bad_image(photos: Path) -> None:
    source = FolderSource(photos)
    (photos / "dog" / "b.png").unlink()
    with pytest.raises(
        BadImageError, match=r"dog/b\.png .* but it cannot be read \(No such file or directory\)"
    ):
        source.get(2)


def test_a_link_to_nothing_is_a_bad_image(photos: Path) -> None:
    (photos / "dog" / "gone.png").symlink_to(photos / "nowhere.png")
    (photos / "dog" / "self.png").symlink_to(photos / "dog" / "self.png")
    source = FolderSource(photos)
    assert ids(source)[-2:] == ["dog/gone.png", "dog/self.png"]
    for index in (3, 4):
        with pytest.raises(BadImageError, match=r"dog/(gone|self)\.png .* it cannot be read"):
            source.get(index)


def test_links_to_folders_and_files_are_followed(photos: Path, tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "elsewhere" / "e.png")
    (photos / "eel").symlink_to(tmp_path / "elsewhere")
    (photos / "dog" / "linked.png").symlink_to(tmp_path / "elsewhere" / "e.png")
    source = FolderSource(photos)
    assert source.classes == ("cat", "dog", "eel") and ids(source)[-2:] == ["dog/linked.png", "eel/e.png"]


def test_link_loops_end_and_list_nothing_twice(photos: Path, tmp_path: Path, picture: Picture) -> None:
    before = ids(FolderSource(photos))
    picture(tmp_path / "beside" / "not_ours.png")
    for place, target in {
        "loop": photos,
        "cat/up": tmp_path,
        "cat/deep/back": photos / "cat",
        "cat/other": photos / "dog",
        "dog/other": photos / "cat",
        "self": photos / "self",
    }.items():
        (photos / place).symlink_to(target)
    assert ids(FolderSource(photos)) == before


def test_two_linked_folders_that_link_to_each_other_are_each_listed_once(
    tmp_path: Path, picture: Picture
) -> None:
    for name in ("a", "b"):
        picture(tmp_path / name / "x.png")
    (tmp_path / "a" / "to").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to").symlink_to(tmp_path / "a")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a").symlink_to(tmp_path / "a")
    assert ids(FolderSource(tmp_path / "photos")) == ["a/to/x.png", "a/x.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_called_like_an_image_does_not_hang(photos: Path) -> None:
    os.mkfifo(photos / "cat" / "pipe.png")
    assert len(FolderSource(photos)) == 3


@pytest.mark.skipif(os.name != "posix", reason="names are Unicode here")
def test_names_that_are_not_utf8_are_refused_clearly(photos: Path) -> None:
    try:
        (photos / os.fsdecode(b"\xe9.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system allows UTF-8 names only")
    with pytest.raises(ValueError, match=r"file names must be UTF-8, but one is b'\\xe9\.png'; rename it"):
        FolderSource(photos)


def test_unicode_names_are_fine(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "photos" / "猫" / "é ü.png")
    source = FolderSource(tmp_path / "photos")
    assert source.classes == ("猫",) and len(source.fingerprint) == 64
    assert decode_once(source, (4, 4)).ids == ("猫/é ü.png",)


def test_the_fingerprint_follows_content_names_and_split_but_not_the_place(
    photos: Path, tmp_path: Path, picture: Picture
) -> None:
    first = FolderSource(photos).fingerprint
    shutil.copytree(photos, tmp_path / "copy")
    assert FolderSource(tmp_path / "copy").fingerprint == first
    (tmp_path / "copy" / "notes.txt").write_text("no image")
    assert FolderSource(tmp_path / "copy").fingerprint == first
    picture(tmp_path / "copy" / "dog" / "b.png", 99)
    assert FolderSource(tmp_path / "copy").fingerprint != first
    shutil.move(photos / "dog" / "b.png", photos / "cat" / "b.png")
    assert FolderSource(photos).fingerprint != first


def test_few_of_many_are_fingerprinted_without_reading_the_others(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    hashed = fingerprint.sha256_of_file
    monkeypatch.setattr(fingerprint, "sha256_of_file", lambda path: (read.append(path.name), hashed(path))[1])
    source = FolderSource(photos)
    assert len(source.fingerprint_of([2])) == 64 and read == ["b.png"]
    assert source.fingerprint == source.fingerprint_of(range(3)) != source.fingerprint_of([2])


def test_chosen_images_have_the_fingerprint_of_those_alone(photos: Path, picture: Picture) -> None:
    before = [ChosenImages(FolderSource(photos), [row]).fingerprint for row in (1, 2)]
    picture(photos / "dog" / "b.png", 99)
    after = [ChosenImages(FolderSource(photos), [row]).fingerprint for row in (1, 2)]
    assert before[0] == after[0] and before[1] != after[1]


def test_splits_with_equal_images_have_different_fingerprints(tmp_path: Path, picture: Picture) -> None:
    for split in ("train", "test"):
        picture(tmp_path / "photos" / split / "cat" / "a.png", 5)
    one, other = (FolderSource(tmp_path / "photos", split) for split in ("train", "test"))
    assert one.fingerprint != other.fingerprint
