"""`archaeology zoo`: every attention mechanism in one table, its cost and error measured here, its pattern drawn."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import Field

from archaeology.cli.arguments import parsed
from archaeology.core.storage import json_text
from archaeology.zoo.config import ZooConfig

if TYPE_CHECKING:
    from rich.console import Console

    from archaeology.figures.drawing import DataTable
    from archaeology.zoo.table import Entry

WIDTH = 100  # columns of the table where stdout is no terminal
WIDEST = 140
GAP = 2  # between columns
PATTERNS = "zoo_patterns"
FIGURES = ("zoo_cost", "zoo_error", PATTERNS)
COLOURS = {"exact": "bold", "sparse": "blue", "approximate": "yellow", "other": "dim"}


class ZooArguments(ZooConfig):
    """Name every attention mechanism with its formula, its cost and its source; measure them, draw them.

    A measurement that was stopped goes on where it was when the same command is given again.
    """

    measure: bool = Field(
        default=False,
        description="time them here, measure memory and error, write a table and figures to --out",
    )
    dry_run: bool = Field(default=False, description="only estimate how long --measure would take")
    patterns: Path | None = Field(
        default=None, description="draw who looks at whom in each, to this .svg, .png or .pdf file"
    )
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print one JSON document"
    )


OWN = {"measure", "dry_run", "patterns", "json_"}
OF_THE_TABLE = {"mechanisms"}  # what is no matter of measuring
OF_THE_PATTERNS = {"mechanisms", "seed"}


def run(words: Sequence[str]) -> int:
    """Print the table, or measure, or draw."""
    arguments = parsed(ZooArguments, "zoo", words)
    config = ZooConfig.model_validate(arguments.model_dump(exclude=OWN))
    if arguments.dry_run:
        return forecast(config, arguments.json_)
    if arguments.measure:
        return measure(config, arguments)
    refuse_idle_options(config, OF_THE_TABLE if arguments.patterns is None else OF_THE_PATTERNS)
    if arguments.patterns is not None:
        return draw_patterns(config, arguments.patterns, arguments.json_)
    from archaeology.zoo.table import entries

    listed = entries(config.mechanisms)
    if arguments.json_:
        print(json_text([asdict(entry) for entry in listed]), end="")
    else:
        show_entries(listed)
    return 0


def refuse_idle_options(config: ZooConfig, used: set[str]) -> None:
    """Raise if an option was given that only `--measure` heeds.

    Raises:
        ValueError: Naming it.
    """
    for name, field in ZooConfig.model_fields.items():
        if name not in used and getattr(config, name) != field.default:
            raise ValueError(
                f"--{name.replace('_', '-')} says how to measure, so it needs --measure as well."
            )


def forecast(config: ZooConfig, as_json: bool) -> int:
    """Print how long measuring would take."""
    from archaeology.zoo.estimate import estimate

    found = estimate(config)
    print(json_text(asdict(found)) if as_json else found.text(), end="")
    return 0


def measure(config: ZooConfig, arguments: ZooArguments) -> int:
    """Measure, draw, print what was found."""
    from archaeology.figures import save_figure, zoo_figures
    from archaeology.zoo.estimate import estimate
    from archaeology.zoo.run import chosen, claim, measure_zoo

    chosen(config)
    claim(config)  # so that a wrong name or folder is told before anything is run
    print(f"archaeology: measuring takes {estimate(config).text()}", end="", file=sys.stderr)
    found = measure_zoo(config)
    documents: dict[str, Any] = {}
    for name in FIGURES:
        drawing = zoo_figures.get(name)
        numbers = drawing.compute(found.names if name == PATTERNS else found)
        if numbers is not None:
            files = save_figure(drawing.draw(numbers), found.path, name)
            documents[name] = {"headline": drawing.headline(numbers), "files": files}
            if not arguments.json_:
                print(f"{drawing.headline(numbers)}\n")
                if name != PATTERNS:
                    show_table(drawing.table(numbers))
    if arguments.json_:
        print(
            json_text({"run": found.path, "figures": documents, **asdict(found.summary), **found.run}), end=""
        )
    else:
        print("\n".join(str(path) for document in documents.values() for path in document["files"]))
    return 0


def draw_patterns(config: ZooConfig, path: Path, as_json: bool) -> int:
    """Draw who looks at whom."""
    from archaeology.figures import zoo_figures
    from archaeology.figures.files import check_format, save_as
    from archaeology.zoo.run import chosen

    check_format(path)
    drawing = zoo_figures.get(PATTERNS)
    numbers = drawing.compute(chosen(config))
    save_as(drawing.draw(numbers), path, drawing.name)
    headline = drawing.headline(numbers)
    print(json_text({"headline": headline, "file": path}) if as_json else f"{headline}\n{path}\n", end="")
    return 0


def show_entries(listed: Sequence["Entry"]) -> None:
    """Every mechanism with its formula below, wrapped to the terminal."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from archaeology.zoo.table import RELATIONS, SYMBOLS

    console = console_for_stdout()
    sources = [f"{entry.author} {entry.year}" for entry in listed]
    names = max(map(len, ("name", *(entry.name for entry in listed)))) + GAP
    fixed = (names, 11 + GAP, 6 + GAP, max(map(len, sources)) + GAP)
    rest = max(24, console.width + GAP - sum(fixed))

    def line(name: Text, time: str, memory: str, relation: Text, causal: str, source: str) -> Table:
        grid = Table.grid(padding=(0, GAP, 0, 0))
        for width in (fixed[0], rest - rest // 2, rest // 2, *fixed[1:]):
            grid.add_column(width=width - GAP)
        grid.add_row(name, time, memory, relation, causal, source)
        return grid

    head = line(Text("name"), "time", "memory", Text("relation"), "causal", "source")
    console.print(head, style="bold")
    for entry, source in zip(listed, sources, strict=True):
        name, relation = Text(entry.name, style="bold"), Text(entry.relation, style=COLOURS[entry.relation])
        causal = "yes" if entry.is_causal else "no"
        console.print(line(name, entry.time, entry.memory, relation, causal, source))
        console.print(Padding(Text(entry.formula, style="dim"), (0, 0, 0, names)))
    owning = [entry.name for entry in listed if entry.kind == "layer"]
    notes = [
        f"{SYMBOLS}.",
        "; ".join(f"{name}: {meaning}" for name, meaning in RELATIONS.items()) + ".",
        f"{', '.join(owning)}: a whole layer, with projections of its own." if owning else "",
        "--measure times them here; --patterns FILE.png draws who looks at whom; --json prints all facts.",
    ]
    console.print()
    for note in filter(None, notes):
        console.print(note)


def console_for_stdout() -> "Console":
    """As wide as the terminal, within reason; without colours and of a fixed width elsewhere."""
    from rich.console import Console

    console = Console(highlight=False)
    console.width = min(console.width, WIDEST) if console.is_terminal else WIDTH
    return console


def show_table(table: "DataTable") -> None:
    """The numbers of a figure."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = console_for_stdout()
    shown = Table(box=box.SIMPLE_HEAD if console.is_terminal else box.ASCII2, padding=(0, 1), pad_edge=False)
    for number, column in enumerate(table.columns):
        shown.add_column(column, no_wrap=number == 0, header_style="bold")
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    console.print(shown)
