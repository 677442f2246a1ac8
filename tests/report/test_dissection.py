"""The section on kinds of failure: rows, words and thumbnails from the document; silent where there is none."""

import re

import pytest

from archaeology.core.storage import write_json
from archaeology.dig.directory import RunDirectory
from archaeology.report.content import report_of
from archaeology.report.dissection import DISSECTION_FIGURES, TERMS, dissection, terms_used
from archaeology.report.limits import missing
from archaeology.report.markdown import markdown
from archaeology.report.page import page


@pytest.fixture(scope="module")
def apart(attacked_run):
    return dissection(RunDirectory(attacked_run))


def test_rows_say_counts_with_intervals_beside_those_named_right(apart, attacked_run):
    document = RunDirectory(attacked_run).dissection
    counts = {row["name"]: row for row in document["kinds"]["vit"]["counts"]}
    rows = {row.title: row for row in apart.rows}
    away, found = rows["Looked beside the object"].cells[0], counts["looked_away"]
    assert away.number.startswith(f"{found['count']} of {found['share']['n']}: ")
    assert away.among_right.startswith("of those named right ") and " to " in away.number
    assert rows["Sure and wrong"].cells[0].among_right == ""
    assert apart.models == ("ViT", "CNN") and all(len(row.cells) == 2 for row in apart.rows)
    assert "0.9 or more" in rows["Sure and wrong"].rule


def test_planted_slice_is_described_with_images(apart):
    assert any("ViT" in one.text and "brighter" in one.text for one in apart.slices)
    assert all(one.strip.uri.startswith("data:image/webp;base64,") for one in apart.slices)
    assert apart.looks.strip.words.startswith("Above, from the left: ") and len(apart.mended) == 2


def test_page_and_markdown_have_the_section(attacked_run):
    report = report_of(RunDirectory(attacked_run))
    html, text = page(report), markdown(report)
    section = html[html.index('id="kinds-of-failure"') : html.index('id="limits"')]
    for row in report.dissection.rows:
        assert row.title in section and row.title in text
    rows = re.findall(r'<[a-z]+ class="examples-row"[^>]*>', section)
    assert len(rows) >= 5 and all(re.search(r'role="img" aria-label="[^"]+"', row) for row in rows), rows
    assert [view.name for view in report.dissection_figures] == list(DISSECTION_FIGURES)
    assert "### Kinds of failure" in text
    assert [term.title for term in report.methods.failures] == [term.title for term in TERMS.values()]
    for surname in ("Guo", "Eyuboglu", "MacKinnon", "Northcutt"):
        assert any(surname in line for line in report.methods.references)


def test_runs_without_it_have_no_section(small_report, small_run):
    assert small_report.dissection is None and small_report.dissection_figures == ()
    assert "kinds-of-failure" not in page(small_report) and "Kinds of failure" not in markdown(small_report)
    assert terms_used({}) == () and dissection(RunDirectory(small_run)) is None


def test_what_was_not_measured_is_said(made_up, tmp_path):
    folder = made_up.write_run(tmp_path / "run", made_up.Plan(full_attention=False, num_images=60))
    reason = "takes long"
    write_json(
        folder / "dissection.json", {"n": 60, "missing": {"kinds of failure": reason}, "calibration": {}}
    )
    run = RunDirectory(folder)
    found = dissection(run)
    assert (
        found.rows == ()
        and found.missing == (("kinds of failure", reason),)
        and "not taken apart" in found.lead
    )
    assert "Kinds of failure: takes long." in list(missing(run))
    assert reason in page(report_of(run)) and reason in markdown(report_of(run))


def test_names_cannot_become_markup(made_up, made_up_apart, tmp_path):
    folder = made_up.write_run(tmp_path / "run", made_up.Plan(full_attention=False, num_images=60))
    document = made_up_apart.made_up_dissection()
    document["classes_named"] = ["<script>alert(1)</script>"] * 11
    for image in document["images"]:
        image["label"] = "<b>x</b>"
    made_up_apart.write_dissection(folder, document)
    html = page(report_of(RunDirectory(folder)))
    assert "<script>alert(1)" not in html and "<b>x</b>" not in html
