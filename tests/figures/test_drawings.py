"""What holds for every figure: it is exported, says what it shows, draws itself the same way twice, has a table."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib as mpl
import pytest

import archaeology.figures
from archaeology.dig.directory import RunDirectory
from archaeology.figures import figures, svg_text

NEED_LABELS = {"accuracy", "failure_types", "ablation_accuracy", "ablation_loss", "ablation_against_entropy"}
FOLDER = Path(archaeology.figures.__file__).parent
SHARED = {"__init__", "drawing", "svg", "words"}


def test_every_file_is_registered_under_its_name_and_exported():
    files = {path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_")} - SHARED
    assert files == set(figures)
    for name in figures:
        assert getattr(archaeology.figures, name) is figures.get(name)
        assert figures.get(name).name == name


@pytest.mark.parametrize("name", list(figures))
def test_it_says_what_it_shows(name, small_run):
    drawing = figures.get(name)
    data = drawing.compute(RunDirectory(small_run))
    for text in (drawing.title, drawing.headline(data), drawing.explanation, drawing.definition):
        assert len(text) > 10 and text == text.strip() and text[-1] in ".?"
        assert "nan" not in text.lower().split()
    table = drawing.table(data)
    assert len(table.rows) > 1
    assert {len(row) for row in table.rows} == {len(table.columns)}


@pytest.mark.parametrize("name", list(figures))
def test_it_draws_the_same_bytes_twice_and_leaves_matplotlib_alone(name, small_run):
    drawing = figures.get(name)
    data = drawing.compute(RunDirectory(small_run))
    before = dict(mpl.rcParams)
    first = svg_text(drawing.draw(data), name, drawing.title)
    assert svg_text(drawing.draw(data), name, drawing.title) == first
    assert dict(mpl.rcParams) == before
    root = ElementTree.fromstring(first)
    assert root.attrib["aria-label"] == drawing.title


@pytest.mark.parametrize("name", list(figures))
def test_nothing_is_cut_off(name, small_run):
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    from archaeology.figures._theme import themed

    drawing = figures.get(name)
    with themed(name):
        figure = drawing.draw(drawing.compute(RunDirectory(small_run)))
        FigureCanvasSVG(figure)
        needed = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert needed.x0 > -0.02 and needed.y0 > -0.02
    assert needed.x1 < width + 0.02 and needed.y1 < height + 0.02


@pytest.mark.parametrize("name", list(figures))
def test_without_labels_there_are_no_numbers_to_invent(name, unlabelled_run):
    data = figures.get(name).compute(RunDirectory(unlabelled_run))
    assert (data is None) == (name in NEED_LABELS | {"class_token_mass"})
