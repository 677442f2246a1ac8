import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from archaeology.core.errors import BadImageError
from archaeology.data import cache
from archaeology.data.cache import CHUNK, decode_once
from archaeology.data.source import Sample


class Made:
    """A source of `count` images, some of them bad; image i is filled with i and counts how often it is decoded."""

    is_thread_safe = True
    name, split, classes = "made", "test", ("even", "odd")

    def __init__(self, count: int = 5, *, bad: tuple[int, ...] = (), extras: tuple[int, ...] = ()) -> None:
        self.count, self.bad, self.extras = count, bad, extras
        self.fingerprint = f"{count} {bad} {extras}"
        self.decoded = 0

    def __len__(self) -> int:
        return self.count

    def image_id(self, index: int) -> str:
        return f"image {index}"

    def labels(self) -> list[int | None]:
        return [index % 2 if index else None for index in range(self.count)]

    def get(self, index: int) -> Sample:
        self.decoded += 1
        if index in self.bad:
            raise BadImageError(f"image {index} is bad")
        image = torch.full((3, 8, 12), index % 256, dtype=torch.uint8)
        if index not in self.extras:
            return Sample(image, index % 2 if index else None)
        mask = torch.zeros(8, 12, dtype=torch.bool)
        mask[:, 2 + index % 7 : 4 + index % 7] = True  # two wide, so that halving keeps it
        return Sample(image, index % 2 if index else None, (2.0, 0.0, 6.0, float(1 + index % 7)), mask)


def entries(folder: Path) -> list[Path]:
    return [path for path in (folder / "decoded").iterdir() if not path.name.startswith(".")]


def test_all_fields_arrive(tmp_path: Path) -> None:
    decoded = decode_once(Made(5), (8, 12), folder=tmp_path)
    assert decoded.images.shape == (5, 3, 8, 12) and decoded.images.dtype == np.uint8
    assert decoded.images[:, 1, 2, 3].tolist() == [0, 1, 2, 3, 4]
    assert decoded.labels.tolist() == [-1, 1, 0, 1, 0] and decoded.labels.dtype == np.int64
    assert decoded.ids == ("image 0", "image 1", "image 2", "image 3", "image 4")
    assert (decoded.name, decoded.split, decoded.classes) == ("made", "test", ("even", "odd"))
    assert decoded.boxes is None and decoded.masks is None and decoded.skipped == ()
    assert decoded.fingerprint == "5 () ()" and len(decoded) == 5
    assert isinstance(decoded.images, np.memmap)


def test_the_second_call_decodes_nothing(tmp_path: Path) -> None:
    source = Made(5)
    first = decode_once(source, (8, 12), folder=tmp_path)
    again = decode_once(source, (8, 12), folder=tmp_path)
    assert source.decoded == 5
    np.testing.assert_array_equal(first.images, again.images)
    assert (first.ids, first.labels.tolist()) == (again.ids, again.labels.tolist())


def test_the_cache_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "here"))
    decode_once(Made(), (8, 12))
    assert len(entries(tmp_path / "here")) == 1


def test_everything_that_decides_is_part_of_the_key(tmp_path: Path) -> None:
    for source, size, options in (
        (Made(5), (8, 12), {}),
        (Made(6), (8, 12), {}),
        (Made(5), (12, 8), {}),
        (Made(5), (8, 12), {"crop_fraction": 0.5}),
        (Made(5), (8, 12), {"skip_bad": True}),
    ):
        decode_once(source, size, folder=tmp_path, **options)
        assert source.decoded == len(source)
    assert len(entries(tmp_path)) == 5


@pytest.mark.parametrize("is_thread_safe", [True, False])
def test_many_chunks_and_threads_keep_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_thread_safe: bool
) -> None:
    monkeypatch.setattr(cache.os, "cpu_count", lambda: 7)
    monkeypatch.setattr(Made, "is_thread_safe", is_thread_safe)
    count = 5 * CHUNK + 3
    decoded = decode_once(Made(count), (8, 12), folder=tmp_path)
    assert decoded.images[:, 0, 0, 0].tolist() == [i % 256 for i in range(count)]
    assert decoded.ids == tuple(f"image {i}" for i in range(count))


def test_a_source_that_does_not_say_it_is_thread_safe_is_read_by_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    used: set[int] = set()

    class Careful(Made):
        def get(self, index: int) -> Sample:
            used.add(threading.get_ident())
            return super().get(index)

    monkeypatch.setattr(cache.os, "cpu_count", lambda: 4)
    monkeypatch.delattr(Made, "is_thread_safe")
    decode_once(Careful(8 * CHUNK), (8, 12), folder=tmp_path)
    assert len(used) == 1


def test_boxes_and_masks_of_some_images(tmp_path: Path) -> None:
    """The first ones come late, after a whole chunk without any, and every second of the rest has none."""
    extras = tuple(range(CHUNK + 2, CHUNK + 9, 2))
    decoded = decode_once(Made(CHUNK + 9, extras=extras), (4, 6), folder=tmp_path)
    assert decoded.boxes is not None and decoded.masks is not None
    assert decoded.masks.shape == (CHUNK + 9, 4, 6) and decoded.masks.dtype == np.bool_
    known = [i for i in range(CHUNK + 9) if not np.isnan(decoded.boxes[i]).any()]
    masked = [i for i in range(CHUNK + 9) if decoded.masks[i].any()]
    assert known == masked == list(extras)
    for index in extras:
        np.testing.assert_allclose(decoded.boxes[index], [1.0, 0.0, 3.0, (1 + index % 7) / 2])


def test_masks_without_scaling_are_exact(tmp_path: Path) -> None:
    decoded = decode_once(Made(4, extras=(1, 2)), (8, 12), folder=tmp_path)
    assert decoded.masks is not None
    assert [row.nonzero()[1].tolist() for row in decoded.masks[:, :1]] == [[], [3, 4], [4, 5], []]


def test_a_bad_image_stops_the_run_naming_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match="image 3 is bad"):
        decode_once(Made(5, bad=(3, 4)), (8, 12), folder=tmp_path)
    assert list((tmp_path / "decoded").iterdir()) == []


def test_bad_images_are_left_out_and_listed_when_asked(tmp_path: Path) -> None:
    source = Made(CHUNK + 5, bad=(0, 3, CHUNK + 1))
    for _ in range(2):  # the second time from the cache
        decoded = decode_once(source, (8, 12), skip_bad=True, folder=tmp_path)
        assert decoded.skipped == tuple((f"image {i}", f"image {i} is bad") for i in (0, 3, CHUNK + 1))
        kept = [i for i in range(CHUNK + 5) if i not in source.bad]
        assert decoded.images[:, 2, 0, 0].tolist() == kept
        assert decoded.ids == tuple(f"image {i}" for i in kept)
        assert len(decoded.labels) == len(kept)
    assert source.decoded == CHUNK + 5


def test_skipping_does_not_hide_bad_images_from_a_strict_call(tmp_path: Path) -> None:
    source = Made(5, bad=(3,))
    decode_once(source, (8, 12), skip_bad=True, folder=tmp_path)
    with pytest.raises(BadImageError, match="image 3 is bad"):
        decode_once(source, (8, 12), folder=tmp_path)


def test_only_bad_images_are_an_error_even_when_skipping(tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match=r"no image of made can be decoded; the first: image 0 is bad"):
        decode_once(Made(2, bad=(0, 1)), (8, 12), skip_bad=True, folder=tmp_path)


def test_an_image_too_thin_to_scale_is_bad_and_named(tmp_path: Path) -> None:
    class Thin(Made):
        def get(self, index: int) -> Sample:
            return Sample(torch.zeros(3, 1, 100_000, dtype=torch.uint8), 0)

    with pytest.raises(
        BadImageError, match=r"image 0 must be an image that can be decoded, but it is 1x100000"
    ):
        decode_once(Thin(1), (224, 224), folder=tmp_path)


def test_another_error_of_the_source_is_not_swallowed(tmp_path: Path) -> None:
    class Broken(Made):
        def get(self, index: int) -> Sample:
            raise IndexError("a programming mistake")

    with pytest.raises(IndexError, match="a programming mistake"):
        decode_once(Broken(2), (8, 12), skip_bad=True, folder=tmp_path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda entry: cut(entry / "images.bin"),
        lambda entry: cut(entry / "masks.bin"),
        lambda entry: cut(entry / "labels.npy"),
        lambda entry: (entry / "labels.npy").write_bytes(b""),
        lambda entry: (entry / "boxes.npy").unlink(),
        lambda entry: (entry / "about.json").write_text("{"),
        lambda entry: (entry / "about.json").write_text("[]"),
        lambda entry: (entry / "about.json").write_text(
            json.dumps({**json.loads((entry / "about.json").read_text()), "format": 0})
        ),
        lambda entry: (shutil.rmtree(entry), entry.mkdir()),
    ],
)
def test_a_broken_cache_is_made_again(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    source = Made(5, extras=(1, 2))
    decode_once(source, (8, 12), folder=tmp_path)
    (entry,) = entries(tmp_path)
    spoil(entry)
    again = decode_once(source, (8, 12), folder=tmp_path)
    assert source.decoded == 10
    assert again.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert len(entries(tmp_path)) == 1


def test_nobody_can_spoil_the_cache_through_the_array(tmp_path: Path) -> None:
    source = Made(3)
    torch.from_numpy(decode_once(source, (8, 12), folder=tmp_path).images).fill_(99)
    again = decode_once(source, (8, 12), folder=tmp_path)
    assert again.images[:, 0, 0, 0].tolist() == [0, 1, 2] and source.decoded == 3


def test_a_cache_that_cannot_be_written_says_how_to_move_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OSError, match=r"kept in .*file.*must be writable and have room.*set ARCHAEOLOGY_CACHE"
    ):
        decode_once(Made(), (8, 12), folder=tmp_path / "file")


def test_a_disk_without_room_is_noticed_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cache.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 5 * 3 * 8 * 12 - 1)
    )
    source = Made(5)
    with pytest.raises(OSError, match=r"0 MB are needed and 0 MB are free; set ARCHAEOLOGY_CACHE"):
        decode_once(source, (8, 12), folder=tmp_path)
    assert source.decoded == 0


def test_a_disk_that_fills_up_while_decoding_says_so_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "_write_masks", full)
    with pytest.raises(OSError, match=r"No space left on device; set ARCHAEOLOGY_CACHE to another folder"):
        decode_once(Made(), (8, 12), folder=tmp_path)
    assert list((tmp_path / "decoded").iterdir()) == []


def test_when_another_process_was_faster_its_result_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_once(Made(), (8, 12), folder=tmp_path)
    opened, answers = cache._opened, iter([None])
    monkeypatch.setattr(cache, "_opened", lambda *args: next(answers, opened(*args)))

    def taken(*_: object) -> None:
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    monkeypatch.setattr(cache, "_write", taken)
    assert len(decode_once(Made(), (8, 12), folder=tmp_path)) == 5


@pytest.mark.parametrize(
    ("size", "crop_fraction", "message"),
    [
        ((0, 8), 1.0, r"size must be at least 1x1 pixels, but got size=\(0, 8\)"),
        ((8, 8), 0.0, r"crop_fraction must be above 0 and at most 1, but got crop_fraction=0\.0"),
        ((8, 8), 1.5, r"but got crop_fraction=1\.5"),
    ],
)
def test_impossible_sizes_are_refused(size: tuple[int, int], crop_fraction: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_once(Made(), size, crop_fraction=crop_fraction)


def test_an_empty_source_is_refused() -> None:
    with pytest.raises(ValueError, match="made must hold at least one image, but holds none"):
        decode_once(Made(0), (8, 8))
