"""The explorer in the page: as many whole specimens as there is room for, nothing in their data can become markup."""

import base64
import json
import re
import struct
import zlib

import pytest

from archaeology.dig.directory import RunDirectory
from archaeology.report import write as writing
from archaeology.report.content import report_of
from archaeology.report.page import data_files, page
from archaeology.report.specimens import chosen, fitted, pressed
from archaeology.report.write import LargeReportWarning, write_report

EVIL = "</script><script>alert(1)</script>"
QUOTED = "a\"b'c <img src=x onerror=alert(2)>.png"


def container(text):
    """The JSON of a packed specimen."""
    raw = zlib.decompress(base64.b64decode(text))
    assert raw[:4] == b"AAX1"
    (length,) = struct.unpack("<I", raw[4:8])
    return json.loads(raw[8 : 8 + length])


def scripts(text):
    """Attributes and content of every script of a page."""
    return re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL)


def test_whole_ones_go_in_while_there_is_room():
    small, whole = ["ss"] * 4, ["w" * 10] * 4
    assert [full for _, full in chosen(small, whole.__getitem__, most=4, room=26)] == [
        True,
        True,
        False,
        False,
    ]
    assert [full for _, full in chosen(small, whole.__getitem__, most=1, room=100)] == [
        True,
        False,
        False,
        False,
    ]
    assert [full for _, full in chosen(small, whole.__getitem__, most=3, room=None)] == [True] * 3 + [False]
    assert [full for _, full in chosen(small, whole.__getitem__, most=9, room=0)] == [False] * 4


def test_images_are_left_out_where_that_makes_room_for_whole_ones():
    small, whole = ["s" * 10] * 30, ["w" * 50] * 30

    def made(room):
        found = fitted(small, whole.__getitem__, room)
        return len(found), sum(full for _, full in found)

    assert made(1000) == (24, 4) and made(320) == (24, 2)
    assert made(285) == (16, 3) and made(245) == (16, 2)
    assert made(161) == (8, 2) and made(121) == (8, 1)
    assert made(100) == (24, 0)


def test_the_page_holds_them_with_the_worst_failures_first(small_run):
    report = report_of(RunDirectory(small_run), full=2)
    found = report.specimens
    assert found.num_full == 2 and len(found.specimens) == 24
    severities = [one.image.severity for one in found.specimens[:20]]
    assert severities == sorted(severities, reverse=True)
    for place, one in enumerate(found.specimens[:3]):
        vit = container(one.packed)["models"][0]
        assert (vit["attention"]["layers"][0]["pattern"] is None) == (place >= 2)
    assert found.size == sum(len(one.packed) for one in found.specimens)


def test_only_two_scripts_may_run_and_the_data_are_none(small_run):
    text = page(report_of(RunDirectory(small_run), full=1))
    kinds = [re.search(r'type="([^"]*)"', attributes) for attributes, _ in scripts(text)]
    names = [kind[1] if kind else "" for kind in kinds]
    assert names.count("") == 1 and names.count("module") == 1 and names.count("application/json") == 1
    assert names.count("application/octet-stream") == 24 == len(names) - 3
    assert len(re.findall(r"'sha256-[^']+'", text.split("</head>")[0])) == 2


def test_a_report_without_room_has_no_whole_specimen(small_run):
    assert report_of(RunDirectory(small_run), full=None, room=0).specimens.num_full == 0
    assert report_of(RunDirectory(small_run), full=None, room=10**7).specimens.num_full == 4


@pytest.fixture(scope="module")
def hostile(made_up, tmp_path_factory):
    """A run whose classes and files are named to break out."""
    plan = made_up.Plan(
        classes=(EVIL, QUOTED, "c"), num_images=60, image_ids=(QUOTED, EVIL) * 30, full_attention=False
    )
    return made_up.write_run(tmp_path_factory.mktemp("hostile") / "run", plan)


def test_names_in_packed_data_and_lists_cannot_end_a_script(hostile):
    text = page(report_of(RunDirectory(hostile), full=0))
    assert "alert(1)</script>" not in text and "<img" not in text
    listed = next(body for attributes, body in scripts(text) if "application/json" in attributes)
    assert not set("<>&") & set(listed) and any(EVIL in entry["title"] for entry in json.loads(listed))
    packed = [body for attributes, body in scripts(text) if "octet-stream" in attributes]
    assert all(re.fullmatch(r"[A-Za-z0-9+/=]+", body) for body in packed)
    assert any(EVIL in json.dumps(container(body), ensure_ascii=False) for body in packed)


def test_a_very_large_report_is_a_folder_that_needs_nothing_else(small_run, tmp_path, monkeypatch):
    import shutil

    copy = shutil.copytree(small_run, tmp_path / "run")
    monkeypatch.setattr(writing, "LARGEST", 1000)
    path = write_report(copy, full=1)
    assert path == copy / "report" / "index.html" and not (copy / "report.html").exists()
    text = path.read_text(encoding="utf-8")
    assert 'id="subject-0"' not in text and "script-src" in text and " 'self' file:" in text
    listed = json.loads(next(body for attributes, body in scripts(text) if "application/json" in attributes))
    files = sorted(one.name for one in path.parent.iterdir())
    assert files == sorted(["index.html", *(entry["file"] for entry in listed)])
    script = (path.parent / listed[3]["file"]).read_text(encoding="utf-8")
    assert re.fullmatch(r'\(globalThis\.archaeologySubjects \?\?= \{\}\)\[3\] = "[A-Za-z0-9+/=]+";\n', script)
    monkeypatch.undo()
    assert write_report(copy, full=0).name == "report.html" and not (copy / "report").exists()


def test_a_large_report_warns_and_a_negative_number_is_refused(small_run, tmp_path, monkeypatch):
    import shutil

    copy = shutil.copytree(small_run, tmp_path / "run")
    monkeypatch.setattr(writing, "LARGE", 1000)
    with pytest.warns(LargeReportWarning, match="slow to open and to send"):
        write_report(copy, full=0)
    with pytest.raises(ValueError, match="0 or more specimens, but got -1"):
        write_report(copy, full=-1)


def test_without_specimens_there_are_no_files_of_data(small_run):
    report = report_of(RunDirectory(small_run), full=0)
    assert [name for name, _ in data_files(report)][:2] == ["specimen-0.js", "specimen-1.js"]
    assert pressed(b"abc") == pressed(b"abc")
