"""`archaeology train RECIPE`: from a recipe's name to a checkpoint folder."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from pydantic import BaseModel, ConfigDict, Field

from archaeology.cli.arguments import parsed
from archaeology.cli.overrides import Overrides, given
from archaeology.core.storage import json_text


class TrainArguments(BaseModel):
    """Train a recipe; whatever is not given here is as the recipe says.

    A training that was stopped goes on when the same command is given again. Many devices:
    torchrun --nproc-per-node N -m archaeology train RECIPE.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: tyro.conf.Positional[str] = Field(description="its name; `archaeology list recipes` names them")
    out: Path | None = Field(default=None, description="checkpoint folder; None takes runs/RECIPE")
    data: str | None = Field(
        default=None, description="where the images are, e.g. parquet:cifar10/; None asks by name"
    )
    start: str | None = Field(
        default=None,
        description="whose weights to start from: run:FOLDER, bundled:NAME, timm:NAME, hf:NAME or torchvision:NAME",
    )
    teacher: str | None = Field(
        default=None, description="a specimen to learn from; also say --distill soft or hard"
    )
    config: Overrides = Field(default_factory=Overrides)
    track: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] = Field(
        default=(),
        description="trackers beside metrics.jsonl (extra: track); nothing is sent unless they are told to",
    )
    overfit_one_batch: bool = Field(
        default=False, description="only check that the model can learn one batch by heart, and train nothing"
    )
    restart: bool = Field(default=False, description="throw away what --out holds and begin anew")
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print the result as JSON"
    )


def run(words: Sequence[str]) -> int:
    """Train and print what was reached and the folder."""
    arguments = parsed(TrainArguments, "train", words)
    from archaeology.core.allocation import tune_allocation
    from archaeology.recipes import run_recipe

    tune_allocation()
    overrides = given(arguments.config)
    if arguments.overfit_one_batch:
        return check(arguments, overrides)
    out = arguments.out or Path("runs") / arguments.recipe
    result = run_recipe(
        arguments.recipe,
        out,
        overrides=overrides,
        data=arguments.data,
        track=arguments.track,
        teacher=arguments.teacher,
        origin=arguments.start,
        restart=arguments.restart,
    )
    if int(os.environ.get("RANK", "0")) > 0:  # one of many processes speaks for all
        return 0
    draw_figure(arguments.recipe, out)
    if arguments.json_:
        print(json_text({"run": str(out), **result.numbers()}), end="")
    else:
        print(result.sentence())
        print(out)
    return 0


def check(arguments: TrainArguments, overrides: dict[str, Any]) -> int:
    """Learn one batch by heart, and say how fast that went."""
    from archaeology.recipes.check import check_recipe

    found = check_recipe(arguments.recipe, overrides=overrides, data=arguments.data, origin=arguments.start)
    print(json_text(asdict(found)) if arguments.json_ else f"{found.sentence()}\n", end="")
    return 0


def draw_figure(recipe: str, out: Path) -> None:
    """Draw what the recipe says shows what was learned, if anything, into the run's folder."""
    from archaeology.recipes import StreamRecipe, recipes

    made = recipes.get(recipe)()
    if not isinstance(made, StreamRecipe) or made.figure is None:
        return
    from archaeology.figures import save_figure, world_figures
    from archaeology.figures._world_source import WorldSource, found_runs

    drawing = world_figures.get(made.figure)
    numbers = drawing.compute(WorldSource(found_runs(out)))
    if numbers is not None:
        save_figure(drawing.draw(numbers), out, drawing.name)
