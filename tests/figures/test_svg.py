import re

import numpy as np
import pytest

from archaeology.figures._theme import COLOURS, new_figure, place, themed
from archaeology.figures.svg import svg_text


@pytest.fixture(scope="module")
def written():
    with themed("sample"):
        figure = new_figure(3.0, 2.0)
        axes = place(figure, 0.5, 0.2, 2.0, 1.0)
        axes.imshow(np.arange(12.0).reshape(3, 4), interpolation="none", aspect="auto")
        axes.plot([0, 1], [0, 1], "o", color=COLOURS["vit"])
        axes.text(1, 1, "<b>&amp;</b>", color=COLOURS["ink"])
        return svg_text(figure, "sample", 'a "quoted" <label>')


def test_colours_are_names_with_themselves_to_fall_back_on(written):
    assert f"var(--vit, {COLOURS['vit']})" in written
    bare = re.sub(r"var\(--[\w-]+, #[0-9a-f]{6}\)", "", written)
    assert not [colour for colour in COLOURS.values() if colour in bare]


def test_identifiers_are_its_own(written):
    found = re.findall(r'\bid="([^"]+)"', written)
    assert found and len(set(found)) == len(found)
    assert all(name.startswith("sample-") for name in found)
    links = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', written)
    assert {first or second for first, second in links} == set(found)


def test_text_and_label_are_escaped(written):
    assert "&lt;b&gt;&amp;amp;&lt;/b&gt;" in written
    assert 'aria-label="a &quot;quoted&quot; &lt;label&gt;"' in written


def test_it_asks_for_no_font_file_or_date(written):
    assert "font-family" not in written
    assert "<style" not in written and "<metadata" not in written
    assert not re.search(r'href="(?!#|data:)', written)


def test_cells_of_an_image_can_be_counted(written):
    assert re.search(r'<image width="4" height="3"', written)
