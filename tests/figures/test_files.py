"""Figures as files: both formats, paper behind them, the same bytes every time."""

import pytest

from archaeology.figures._theme import new_figure, themed
from archaeology.figures.files import check_format, save_as, save_figure


def drawn():
    with themed("test"):
        figure = new_figure(1.0, 1.0)
        figure.text(0.5, 0.5, "hello")
    return figure


def test_both_files_are_the_same_every_time(tmp_path):
    png, svg = save_figure(drawn(), tmp_path / "new", "test")
    first = png.read_bytes(), svg.read_bytes()
    assert first[0].startswith(b"\x89PNG") and b"#fefefd" in first[1]
    assert tuple(path.read_bytes() for path in save_figure(drawn(), tmp_path / "new", "test")) == first


def test_a_format_that_nobody_knows_is_refused(tmp_path):
    for path in (tmp_path / "a.jpeg", tmp_path / "a"):
        with pytest.raises(ValueError, match=r"must be a file that ends in \.png, \.svg, \.pdf"):
            check_format(path)
        with pytest.raises(ValueError, match="must be a file"):
            save_as(drawn(), path, "test")
