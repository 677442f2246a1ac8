"""`archaeology figures`: draw the figures of the synthetic worlds, from the worlds themselves and from trained runs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from pydantic import BaseModel, ConfigDict, Field

from archaeology.cli.arguments import parsed
from archaeology.core.storage import json_text

if TYPE_CHECKING:
    from archaeology.figures.drawing import Drawing

OUT = Path("runs/figures")
EXAMPLES = ("shapes2d_encoder_decoder", "shapes1d_attention")
EVERY_RECIPE = "world_predictions"  # the figure of all recipes of worlds


class FiguresArguments(BaseModel):
    """Draw figures of the synthetic worlds: what they ask, what models answer, where heads look.

    Those that show trained models take them from --runs, where `archaeology train` put them; without a name all are
    drawn that can be.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tyro.conf.Positional[tuple[str, ...]] = Field(
        default=(), description="which; all if none is named (`archaeology list figures` names them)"
    )
    runs: Path | None = Field(
        default=None, description="folder with trained recipes in it, at any depth; None takes none"
    )
    out: Path = Field(default=OUT, description="folder for the files")
    format: Literal["png", "svg", "pdf"] = "png"
    sample: int | None = Field(
        default=None,
        ge=0,
        description="number of the held-out sample that is shown; None takes a telling one",
    )
    patch: int | None = Field(
        default=None, ge=0, description="number of the patch of the answer that is followed, row by row"
    )
    count: int = Field(default=200, ge=2, description="scenes that are measured where heads are compared")
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print headlines, tables and files as JSON"
    )


def run(words: Sequence[str]) -> int:
    """Draw, and print what each figure shows and where it is."""
    arguments = parsed(FiguresArguments, "figures", words)
    from archaeology.figures import world_figures
    from archaeology.figures._world_source import WorldSource, found_runs

    drawings = [world_figures.get(name) for name in arguments.names or world_figures]
    runs = found_runs(arguments.runs) if arguments.runs is not None else ()
    source = WorldSource(runs, arguments.sample, arguments.patch, arguments.count)
    documents: dict[str, Any] = {}
    for drawing in drawings:
        document = drawn(drawing, source, arguments)
        if document is not None:
            documents[drawing.name] = document
        elif arguments.names:
            raise ValueError(lacking(drawing.name, arguments.runs))
        else:
            print(f"archaeology: {lacking(drawing.name, arguments.runs)}", file=sys.stderr)
    if arguments.json_:
        print(json_text({"figures": documents}), end="")
    return 0


def drawn(drawing: "Drawing", source: Any, arguments: FiguresArguments) -> dict[str, Any] | None:
    """What a figure shows, once it is drawn and said; None where there is nothing to draw it from."""
    from archaeology.figures.files import save_as

    numbers = drawing.compute(source)
    if numbers is None:
        return None
    path = arguments.out / f"{drawing.name}.{arguments.format}"
    save_as(drawing.draw(numbers), path, drawing.name)
    headline, table = drawing.headline(numbers), drawing.table(numbers)
    if not arguments.json_:
        print(f"{headline}\n{path}\n")
    return {"headline": headline, "file": path, "columns": table.columns, "rows": table.rows}


def lacking(name: str, runs: Path | None) -> str:
    """What to say of a figure for which no model was found."""
    from archaeology.recipes import StreamRecipe, recipes

    made = {recipe: recipes.get(recipe)() for recipe in recipes}
    own = [recipe for recipe, one in made.items() if isinstance(one, StreamRecipe) and one.figure == name]
    examples = own if name != EVERY_RECIPE and own else list(EXAMPLES)
    where = "--runs was not given" if runs is None else f"{runs} has none that fits"
    commands = " and ".join(f"`archaeology train {recipe}`" for recipe in examples[:2])
    return (
        f"{name} shows trained models, but {where}; train some, for example {commands}, and say --runs runs."
    )
