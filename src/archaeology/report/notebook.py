"""The report as a notebook: it opens the run directory that it lies in and makes tables and figures again from numbers.

Cells have no outputs and no time, and their names are numbers, so that the file is the same however often it is made.
"""

import hashlib

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from archaeology.report.content import FigureView, Report
from archaeology.report.markdown import plain

OPEN = '''from pathlib import Path

from IPython.display import HTML, Markdown, display

from archaeology.dig.directory import RunDirectory
from archaeology.figures import figures, svg_text
from archaeology.report.markdown import table

run = RunDirectory(Path("."))


def show(name):
    """A figure made again from the numbers of the run, with its table."""
    drawing = figures.get(name)
    data = drawing.compute(run)
    display(HTML(svg_text(drawing.draw(data), name, drawing.title)))
    numbers = drawing.table(data)
    display(Markdown(table(numbers.columns, numbers.rows)))


def rows(found, *columns):
    """Rows of a table, as far as it has these columns."""
    kept = [name for name in columns if found and name in found[0]]
    display(Markdown(table(kept, [[str(row[name]) for name in kept] for row in found])))'''

FINDINGS = 'rows(run.results["findings"], "title", "text", "strength", "p_corrected")'
IMAGES = """answers = [f"{model}_{key}" for model in ("vit", "cnn") for key in ("prediction_name", "confidence")]
images = run.images.to_pylist()
wrong = lambda row: [row[f"{model}_confidence"] for model in ("vit", "cnn") if row[f"{model}_correct"] is False]
images.sort(key=lambda row: -sum(wrong(row)))
rows(images[:20], "id", "label_name", *answers, "failure")"""
HEADS = (
    'rows(run.heads.to_pylist(), "layer", "head", "label", "entropy", "distance", "ablation_loss", "verdict")'
)

CHAPTERS = (
    ("heads", "head_figures"),
    ("leaderboard", "leaderboard_figures"),
    ("robustness", "robustness_figures"),
    ("representation", "representation_figures"),
    ("failures", "failure_figures"),
    ("failures", "dissection_figures"),
)


def notebook(report: Report) -> str:
    """The notebook as text; it finds its run in its own folder."""
    cells = [
        new_markdown_cell(_opening(report)),
        new_code_cell(OPEN),
        new_markdown_cell("## Verdict and findings\n\nWhat the run says of itself, in `results.json`."),
        new_code_cell('run.results.get("headline")'),
        new_code_cell(FINDINGS),
        new_markdown_cell("## Images\n\nEvery image with both answers, the surest mistakes first."),
        new_code_cell(IMAGES),
    ]
    for chapter, field in CHAPTERS:
        views: tuple[FigureView, ...] = getattr(report, field)
        if chapter not in report.chapters or not views:
            continue
        cells.append(new_markdown_cell(f"## {report.chapters[chapter]}"))
        for view in views:
            cells += [
                new_markdown_cell(f"### {plain(view.title)}\n\n{plain(view.explanation)}"),
                new_code_cell(f"show({view.name!r})"),
            ]
    cells += [
        new_markdown_cell("## Heads\n\nEvery head with its statistics and what it is worth."),
        new_code_cell(HEADS),
        new_markdown_cell(f"## Made by\n\n```\n{report.command.replace('```', '')}\n```"),
    ]
    for number, cell in enumerate(cells):
        cell["id"] = hashlib.sha256(f"{number} {cell.source}".encode()).hexdigest()[:12]
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    made = new_notebook(cells=cells, metadata=metadata)
    nbformat.validate(made)
    return nbformat.writes(made) + "\n"


def _opening(report: Report) -> str:
    lines = "\n".join(f"- {plain(line)}" for line in (*report.byline, f"Images: {report.data}"))
    return (
        f"# {plain(report.verdict.sentence)}\n\n{lines}\n\nStart this notebook in the folder of the run: every number "
        "and every figure below is made again from the files beside it."
    )
