"""The notebook is the same bytes every time, holds no output, and runs from the folder of its run."""

import json
import shutil

import nbformat
import pytest

from archaeology.dig.directory import RunDirectory
from archaeology.report.content import report_of
from archaeology.report.notebook import notebook
from archaeology.report.write import write_report


@pytest.fixture(scope="module")
def text(small_report):
    return notebook(small_report)


def test_it_is_valid_without_outputs_times_or_machine(text):
    found = nbformat.reads(text, as_version=4)
    nbformat.validate(found)
    code = [cell for cell in found.cells if cell.cell_type == "code"]
    assert len(code) > 15 and all(cell.outputs == [] and cell.execution_count is None for cell in code)
    ids = [cell.id for cell in found.cells]
    assert len(set(ids)) == len(ids)
    assert set(json.loads(text)["metadata"]) == {"kernelspec", "language_info"}


def test_it_is_the_same_every_time(text, small_run):
    assert notebook(report_of(RunDirectory(small_run))) == text


def test_every_figure_of_the_report_is_in_it(text, small_report):
    for view in (
        *small_report.head_figures,
        *small_report.leaderboard_figures,
        *small_report.failure_figures,
    ):
        assert f"show('{view.name}')" in text.replace("\\n", "\n")


def test_names_of_a_run_cannot_become_code(made_up, tmp_path):
    evil = '"); __import__("os").abort()  # ```'
    plan = made_up.Plan(names=(f"run:{evil}", "timm:x"), num_images=60, full_attention=False)
    made = nbformat.reads(
        notebook(report_of(RunDirectory(made_up.write_run(tmp_path / "run", plan)))), as_version=4
    )
    assert not any("abort" in cell.source for cell in made.cells if cell.cell_type == "code")
    assert any("abort" in cell.source for cell in made.cells)
    assert made.cells[-1].source.count("```") == 2


@pytest.mark.slow
def test_it_runs_where_its_run_is(plain_run, tmp_path):
    from nbclient import NotebookClient

    copy = shutil.copytree(plain_run, tmp_path / "elsewhere")
    write_report(copy)
    found = nbformat.read(copy / "report.ipynb", as_version=4)
    NotebookClient(found, timeout=300, resources={"metadata": {"path": str(copy)}}).execute()
    errors = [one for cell in found.cells for one in cell.get("outputs", []) if one.output_type == "error"]
    drawn = sum(
        "image/svg" in str(cell.get("outputs")) or "<svg" in str(cell.get("outputs")) for cell in found.cells
    )
    assert errors == [] and drawn > 5
