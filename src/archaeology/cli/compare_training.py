"""`archaeology compare-training RUN...`: which way of training is good for what, with intervals, figures and words."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import BaseModel, ConfigDict, Field

from archaeology.cli.arguments import parsed
from archaeology.cli.zoo import show_table
from archaeology.core.storage import json_text

if TYPE_CHECKING:
    from archaeology.diagnose import Comparison


class CompareArguments(BaseModel):
    """Compare trainings on images: accuracy against epochs, time and examples, the end, and where attention went.

    Runs that differ by their seed alone count as one recipe; three seeds or more give an interval.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: tyro.conf.Positional[tuple[Path, ...]] = Field(
        description="folders that `archaeology train` wrote or is writing"
    )
    data: str | None = Field(
        default=None, description="test images to run the models on; None takes those that the runs name"
    )
    levels: tuple[float, ...] = Field(
        default=(), description="accuracies in (0, 1] whose time is asked for; none: round ones"
    )
    count: int | None = Field(
        default=None, ge=2, description="test images that finished models answer; None for all"
    )
    attention_images: int = Field(
        default=64, ge=2, description="images on which attention before and after is compared"
    )
    numbers_only: bool = Field(
        default=False, description="compare what the runs wrote down, without running any model"
    )
    out: Path = Field(default=Path("runs/comparison"), description="folder for the figures")
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print one JSON document"
    )


def run(words: Sequence[str]) -> int:
    """Compare, draw, print."""
    arguments = parsed(CompareArguments, "compare-training", words)
    from archaeology.diagnose import compare

    found = compare(
        arguments.runs,
        data=arguments.data,
        levels=arguments.levels,
        count=arguments.count,
        attention_images=arguments.attention_images,
        run_models=not arguments.numbers_only,
    )
    show(found, arguments.out, as_json=arguments.json_)
    return 0


def show(found: "Comparison", out: Path, *, as_json: bool) -> None:
    """Draw the figures, print tables, sentences and notes."""
    from archaeology.figures import save_figure, training_figures

    documents: dict[str, Any] = {}
    for name in training_figures:
        drawing = training_figures.get(name)
        numbers = drawing.compute(found)
        if numbers is None:
            continue
        files = save_figure(drawing.draw(numbers), out, name)
        documents[name] = {"headline": drawing.headline(numbers), "files": files}
        if not as_json:
            print(drawing.title)
            show_table(drawing.table(numbers))
            print()
    if as_json:
        print(json_text({"figures": documents, **found.numbers()}), end="")
        return
    print("\n".join(found.findings))
    for note in found.notes:
        print(f"note: {note}")
    print("\n".join(str(path) for document in documents.values() for path in document["files"]))
