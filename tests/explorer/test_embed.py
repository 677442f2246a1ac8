import base64
import json
import re
import zlib
from html import unescape

import numpy as np
import pytest

from archaeology.explorer.bundle import script_hash
from archaeology.explorer.embed import ExplorerView, explorer_html, json_in_page, packed_within
from archaeology.explorer.explore import explore
from archaeology.explorer.pack import unpack
from archaeology.explorer.subject import AttentionLayer, AttentionLayers, Model, Subject

NASTY = '</script><script>alert(1)</script> "quoted" & \u2028'


def subject(name="a", tokens=20):
    random = np.random.default_rng(len(name))
    pattern = random.random((2, tokens, tokens)).astype(np.float32)
    layer = AttentionLayer("blocks.0.attn", 4, tokens // 4, 2, pattern)
    attention = AttentionLayers("token", (layer,), readout=pattern[None, :, 0])
    pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Subject(name, f"title {name} {NASTY}", pixels, (Model("vit", "vit", NASTY, attention=attention),))


def containers(page):
    found = re.findall(
        r'<script type="application/octet-stream" id="numbers-(\d+)"[^>]*>([^<]*)</script>', page
    )
    return [
        unpack(zlib.decompress(base64.b64decode(text)))
        for _, text in sorted(found, key=lambda one: int(one[0]))
    ]


def test_a_page_holds_the_subjects_and_lets_only_its_own_script_run():
    page = explorer_html([subject("a"), subject("b")], title=NASTY)
    policy = unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])
    (script,) = re.findall(r'<script type="module">(.*?)</script>', page, re.DOTALL)
    assert f"script-src {script_hash(script)};" in policy and policy.startswith("default-src 'none'")
    (style,) = re.findall(r"<style>(.*?)</style>", page)
    assert f"style-src {script_hash(style)};" in policy
    entries = json.loads(re.search(r'id="subjects">(.*?)</script>', page)[1])
    assert [entry["title"] for entry in entries] == [f"title {name} {NASTY}" for name in "ab"]
    assert all(entry["thumbnail"].startswith("data:image/png;base64,") for entry in entries)
    assert page.count("</script>") == 5 == page.count("<script") - script.count("<script")
    found = containers(page)
    np.testing.assert_array_equal(found[1]["image"]["pixels"], subject("b").pixels)
    assert not re.search(r'(src|href)="(?!data:)', page.replace(script, ""))


def test_those_in_front_are_whole_while_there_is_room():
    makers = [lambda name=name: subject(name, 60) for name in "abcd"]
    sizes = [len(one.text) for one in packed_within(makers, 10**7)]
    small = [len(one.text) for one in packed_within(makers, sum(sizes) // 8)]
    assert small[0] < sizes[0] / 4
    some = packed_within(makers, sum(small) + 2 * (sizes[0] - small[0]) + 200)
    assert [one.is_whole for one in some] == [True, True, False, False]
    assert sum(len(one.text) for one in some) <= sum(small) + 2 * (sizes[0] - small[0]) + 200
    assert len(packed_within(makers, small[0] + small[1] + 10)) == 2


def test_a_readout_only_subject_keeps_all_but_patterns():
    small = unpack(subject().readout_only().pack())
    (layer,) = small["models"][0]["attention"]["layers"]
    assert layer["pattern"] is None and layer["heads"] == 2
    assert small["models"][0]["attention"]["readout"].shape == (1, 2, 20)


def test_a_page_without_room_is_refused():
    with pytest.raises(ValueError, match="a page needs a subject that fits"):
        explorer_html([subject()], most_megabytes=0.0001)
    with pytest.raises(ValueError, match="a page needs a subject that fits, but got 0"):
        explorer_html([])


def test_a_view_shows_itself_in_a_frame_of_its_own(tmp_path):
    view = ExplorerView(
        explorer_html([subject()], title="Arrow → & more", deep_links=False), "Arrow → & more", 500
    )
    shown = view._repr_html_()
    assert shown.startswith('<iframe title="Arrow → &amp; more"')
    assert 'sandbox="allow-scripts allow-downloads"' in shown and 'height="500"' in shown
    document = re.search(r'srcdoc="([^"]*)"', shown)[1]
    assert document.isascii() and unescape(document) == view.document
    assert '"prefix"' not in re.search(r'id="options">(.*?)</script>', view.document)[1]
    assert view.save(tmp_path / "page.html").read_text(encoding="utf-8") == view.document
    assert "MB)" in repr(view)


def test_json_in_a_page_is_never_markup():
    text = json_in_page({"x": NASTY})
    assert "<" not in text and "\u2028" not in text and json.loads(text) == {"x": NASTY}


def test_explore_looks_at_images_and_files(flat, cnn, pictures, tmp_path):
    from PIL import Image

    view = explore(flat, pictures(16), cnn=cnn, labels=["ant", "bee"], methods=["grad_cam"])
    first, second = containers(view.document)
    assert [model["key"] for model in first["models"]] == ["vit", "cnn"]
    assert second["label"] == "bee" and second["models"][0]["answer"]["is_right"] is not None
    assert [found["method"] for found in first["models"][1]["maps"]] == ["grad_cam"]
    Image.fromarray(np.zeros((40, 30, 3), np.uint8)).save(tmp_path / "photo.png")
    (found,) = containers(explore(flat, [tmp_path / "photo.png"]).document)
    assert found["title"] == "photo.png" and (found["image"]["width"], found["image"]["height"]) == (16, 16)
    (alone,) = containers(explore(cnn, pictures(16)[0]).document)
    assert [model["key"] for model in alone["models"]] == ["cnn"]


def test_explore_says_what_is_missing(flat, pictures, tmp_path):
    with pytest.raises(ValueError, match="images must be given with a specimen"):
        explore(flat)
    with pytest.raises(ValueError, match="labels must be one for each of 2 images"):
        explore(flat, pictures(16), labels=["ant"])
    with pytest.raises(ValueError, match="a finished dig has its own images"):
        explore(tmp_path, pictures(16))
    with pytest.raises(ValueError, match="images must hold at least one"):
        explore(flat, [])
