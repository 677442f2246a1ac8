"""`archaeology train RECIPE`: from a recipe's name to a checkpoint folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import BaseModel, ConfigDict, Field

from archaeology.cli.arguments import parsed
from archaeology.core.storage import json_text


class TrainArguments(BaseModel):
    """Train a recipe; whatever is not given here is as the recipe says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: tyro.conf.Positional[str] = Field(description="its name; `archaeology list recipes` names them")
    out: Path | None = Field(default=None, description="checkpoint folder; None takes runs/RECIPE")
    data: str | None = Field(
        default=None, description="where the images are, e.g. parquet:cifar10/; None asks by name"
    )
    epochs: float | None = Field(default=None, gt=0, description="passes over the training images")
    budget: str | None = Field(default=None, description="wall time, e.g. 10m; the schedule ends with it")
    batch_size: int | None = Field(default=None, ge=1)
    learning_rate: float | None = Field(default=None, gt=0)
    seed: int | None = Field(default=None, ge=0)
    device: str | None = Field(default=None, description="auto, cpu, cuda, cuda:N or mps")
    dtype: str | None = Field(default=None, description="auto, float32, bfloat16 or float16")
    threads: int | None = Field(default=None, ge=1, description="CPU threads")
    weights: Literal["float32", "bfloat16"] | None = Field(
        default=None, description="precision of the saved weights"
    )
    tensorboard: bool = Field(default=False, description="also write TensorBoard files (extra: track)")
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print the result as JSON"
    )


def run(words: Sequence[str]) -> int:
    """Train and print what was reached and the folder."""
    arguments = parsed(TrainArguments, "train", words)
    from archaeology.recipes import run_recipe

    ours = {"recipe", "out", "data", "tensorboard", "json_"}
    overrides = {
        name: value for name, value in arguments.model_dump(exclude=ours).items() if value is not None
    }
    out = arguments.out or Path("runs") / arguments.recipe
    result = run_recipe(
        arguments.recipe, out, overrides=overrides, data=arguments.data, tensorboard=arguments.tensorboard
    )
    draw_figure(arguments.recipe, out)
    if arguments.json_:
        print(json_text({"run": str(out), **result.numbers()}), end="")
    else:
        print(result.sentence())
        print(out)
    return 0


def draw_figure(recipe: str, out: Path) -> None:
    """Draw what the recipe says shows what was learned, if anything, into the run's folder."""
    from archaeology.recipes import recipes

    if getattr(recipes.get(recipe)(), "figure", None) == "head_pattern":
        from archaeology.figures import head_pattern, save_figure

        save_figure(head_pattern.draw(head_pattern.compute(out)), out, "head_0")
