"""Every figure of a report brings title, axes with units, n, intervals, words for those who cannot see it, data."""

import re

import pytest

from archaeology.dig.directory import RunDirectory
from archaeology.figures import figures
from archaeology.report.content import report_of

UNITS = re.compile(
    r"%|\((?:[^)]*(?:nats|pixels|points|share|of |accuracy|images|ratio|logit|epsilon|ε|255|L[2∞]|rank)[^)]*)\)"
    r"|nats|pixels|points|images|share|rank|difference from chance|times|cycles|\u00d7|ε|\bhead\b"
)
COUNTED = re.compile(r"\d[\d,]* (?:other |of them )?(?:images?|patches|pairs|decisions|failures)\b")
COUNT_COLUMNS = {"Images", "Images of each class", "n"}
INTERVAL = re.compile(r"interval|to \d")
WITHOUT_INTERVAL = {"attacked_images"}  # shows single images, with what was said of them


def words_of(svg):
    """All text that stands in a drawing."""
    return " | ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


@pytest.fixture(scope="module")
def views(attacked_run):
    report = report_of(RunDirectory(attacked_run))
    groups = (
        report.head_figures,
        report.leaderboard_figures,
        report.robustness_figures,
        report.representation_figures,
        report.failure_figures,
        report.dissection_figures,
    )
    return {view.name: view for group in groups for view in group}


def test_the_report_shows_every_registered_figure(views):
    assert set(views) == set(figures)


@pytest.mark.parametrize("name", list(figures))
def test_it_brings_everything(name, views):
    view = views[name]
    assert view.title and view.title[-1] in ".?" and len(view.headline) > 20 and len(view.definition) > 40
    label = re.search(r'aria-label="([^"]*)"', view.svg)
    assert label and view.title.split("?")[0][:20] in label[1].replace("&amp;", "&")
    assert len(view.table.rows) >= 1 and len(view.table.columns) >= 2
    table = " ".join((*view.table.columns, *(cell for row in view.table.rows for cell in row)))
    said = " ".join((view.headline, view.explanation, view.definition, table))
    assert UNITS.search(words_of(view.svg)), f"no unit among: {words_of(view.svg)[:300]}"
    shown = f"{view.headline} {table}"
    assert COUNTED.search(shown) or COUNT_COLUMNS & {*view.table.columns}, (
        f"does not say of how many: {shown}"
    )
    assert name in WITHOUT_INTERVAL or INTERVAL.search(said), "has no interval"
