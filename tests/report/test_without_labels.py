"""Without labels nothing is right or wrong: figures of ablation speak of answers that change, pages of answers."""

import re

import pyarrow as pa
import pytest

from archaeology.dig.directory import RunDirectory
from archaeology.figures import figures
from archaeology.report.content import figure_view, report_of
from archaeology.report.markdown import markdown
from archaeology.report.page import page

ABLATIONS = (
    "ablation_accuracy",
    "ablation_loss",
    "ablation_against_entropy",
    "ablation_ranking",
    "layer_ablation",
    "pruning",
)
OF_LABELS = re.compile(r"accuracy|\bwrong\b|right answer|images right|failures first", re.IGNORECASE)


class Unlabelled(RunDirectory):
    """A run with ablations, whose labels are taken away afterwards."""

    def __init__(self, path):
        super().__init__(path)
        images = self.images
        for name in ("label", "label_name", "vit_correct", "cnn_correct", "failure"):
            place = images.column_names.index(name)
            images = images.set_column(place, name, pa.nulls(len(images), images.schema.field(name).type))
        self.__dict__["images"] = images
        nothing = {"accuracy": None, "mcnemar": None, "failures": None}
        self.__dict__["results"] = self.results | nothing


def all_words(view):
    drawn = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", view.svg))
    cells = " ".join((*view.table.columns, *(cell for row in view.table.rows for cell in row)))
    return " ".join((view.title, view.headline, view.explanation, view.definition, drawn, cells))


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_speak_of_answers_that_change(name, small_run):
    found = OF_LABELS.search(all_words(figure_view(Unlabelled(small_run), figures.get(name))))
    assert found is None, found


@pytest.mark.parametrize("name", ["ablation_accuracy", "layer_ablation", "pruning"])
def test_with_labels_they_speak_of_accuracy(name, small_run):
    assert "ccuracy" in all_words(figure_view(RunDirectory(small_run), figures.get(name)))


def test_no_failure_comes_first_where_there_is_none(small_run):
    different = "the most confidently different answers first"
    for made in (markdown, page):
        bare, labelled = (made(report_of(run)) for run in (Unlabelled(small_run), RunDirectory(small_run)))
        assert different in bare and "failures first" not in bare
        assert "the worst failures first" in labelled and different not in labelled
