"""What holds for every figure: it is exported, says what it shows, draws itself the same way twice, has a table."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib as mpl
import pytest

import archaeology.figures
from archaeology.dig.directory import RunDirectory
from archaeology.figures import (
    explanation_figures,
    figures,
    learning_figures,
    profile_figures,
    svg_text,
    training_figures,
    world_figures,
    zoo_figures,
)
from archaeology.report.dissection import DISSECTION_FIGURES
from archaeology.report.representation import REPRESENTATION_FIGURES
from archaeology.report.robustness import ROBUSTNESS_FIGURES

NEED_LABELS = {
    "accuracy",
    "accuracy_by_attribute",
    "failure_types",
    "ablation_accuracy",
    "ablation_loss",
    "ablation_against_entropy",
    "ablation_ranking",
    "layer_ablation",
    "pruning",
}
OPTIONAL = {
    "accuracy_by_attribute",
    "leaderboard_vit",
    "leaderboard_cnn",
    "specialization",
    "layer_ablation",
    "pruning",
    *ROBUSTNESS_FIGURES,
    *DISSECTION_FIGURES,
    *REPRESENTATION_FIGURES,
}
FOLDER = Path(archaeology.figures.__file__).parent
SHARED = {"__init__", "drawing", "files", "svg", "terms", "words"}
EVERY = {
    name: registry.get(name)
    for registry in (
        figures,
        zoo_figures,
        world_figures,
        profile_figures,
        training_figures,
        explanation_figures,
        learning_figures,
    )
    for name in registry
}


def test_every_file_is_registered_under_its_name_and_exported():
    files = {path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_")} - SHARED
    assert files == set(EVERY)
    for name, drawing in EVERY.items():
        assert getattr(archaeology.figures, name) is drawing
        assert drawing.name == name


@pytest.mark.parametrize("name", list(EVERY))
def test_it_says_what_it_shows(name, source_of):
    drawing = EVERY[name]
    data = drawing.compute(source_of(name))
    for text in (drawing.title, drawing.headline(data), drawing.explanation, drawing.definition):
        assert len(text) > 10 and text == text.strip() and text[-1] in ".?"
        assert "nan" not in text.lower().split()
    table = drawing.table(data)
    assert len(table.rows) >= (1 if name == "token_norms" else 2)  # one row for each model
    assert {len(row) for row in table.rows} == {len(table.columns)}


@pytest.mark.parametrize("name", list(EVERY))
def test_it_draws_the_same_bytes_twice_and_leaves_matplotlib_alone(name, source_of):
    drawing = EVERY[name]
    data = drawing.compute(source_of(name))
    before = dict(mpl.rcParams)
    first = svg_text(drawing.draw(data), name, drawing.title)
    assert svg_text(drawing.draw(data), name, drawing.title) == first
    assert dict(mpl.rcParams) == before
    root = ElementTree.fromstring(first)
    assert root.attrib["aria-label"] == drawing.title


@pytest.mark.parametrize("name", list(EVERY))
def test_nothing_is_cut_off(name, source_of):
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    from archaeology.figures._theme import themed

    drawing = EVERY[name]
    with themed(name):
        figure = drawing.draw(drawing.compute(source_of(name)))
        FigureCanvasSVG(figure)
        needed = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert needed.x0 > -0.02 and needed.y0 > -0.02
    assert needed.x1 < width + 0.02 and needed.y1 < height + 0.02


@pytest.mark.parametrize("name", list(figures))
def test_without_labels_there_are_no_numbers_to_invent(name, unlabelled_run):
    data = figures.get(name).compute(RunDirectory(unlabelled_run))
    assert (data is None) == (
        name
        in NEED_LABELS
        | {"class_token_mass", *ROBUSTNESS_FIGURES, *DISSECTION_FIGURES, *REPRESENTATION_FIGURES}
    )


@pytest.mark.parametrize("name", list(figures))
def test_a_run_without_the_optional_parts_has_all_other_figures(name, plain_run):
    assert (figures.get(name).compute(RunDirectory(plain_run)) is None) == (name in OPTIONAL)
