"""`archaeology compare-learning MODEL...`: what supervision, self-distillation, masking and captions each know."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import BaseModel, ConfigDict, Field

from archaeology.cli.arguments import check_out, parsed
from archaeology.cli.learning_shown import show_learning

if TYPE_CHECKING:
    from archaeology.figures.drawing import DataTable

FIGURE = "ways_of_learning"


class CompareLearningArguments(BaseModel):
    """Ask models that learned in different ways the same questions about the same images.

    Neighbours, probes, another data set, attention, attacks, corruptions, shape against texture; beside them the same
    architectures with random weights, and raw pixels. The first model is the one that others are held against.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tyro.conf.Positional[tuple[str, ...]] = Field(
        description="specimens, e.g. bundled:vit_cifar10 run:runs/dino; NAME=SPECIMEN calls one NAME"
    )
    data: str = Field(description="images with labels, e.g. cifar10 or cue_conflict")
    split: str | None = Field(
        default=None, description="part that is asked about; None: test, or half of all"
    )
    known_split: str | None = Field(
        default=None, description="part whose labels are known; None: train, or the other half"
    )
    transfer: str | None = Field(default=None, description="another data set, for probes")
    known: int = Field(default=5000, ge=2, description="images that vote as neighbours")
    neighbours: int = Field(default=20, ge=1, description="that vote; at most as many as images are known")
    probe: int = Field(default=2000, ge=2, description="of them, images that a probe learns from")
    asked: int = Field(default=1000, ge=2, description="images that are asked about")
    few: int = Field(
        default=200, ge=0, description="of them, images attacked, corrupted and mixed; 0: none of these"
    )
    attention_images: int = Field(default=100, ge=0, description="images on which attention is looked at")
    epsilon: float = Field(default=1 / 255, ge=0, le=1, description="of the attack; 0: none")
    floors: bool = Field(default=True, description="ask random weights and raw pixels, too")
    skip_bad: bool = Field(default=False, description="leave out images that cannot be read")
    out: Path = Field(default=Path("runs/learning"), description="folder for figure and JSON")
    seed: int = Field(default=0, ge=0, description="of everything drawn")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print one JSON document"
    )


def run(words: Sequence[str]) -> int:
    """Ask, draw, keep and print."""
    arguments = parsed(CompareLearningArguments, "compare-learning", words)
    check_out(arguments.out)
    from archaeology.dig.learning import compare_learning
    from archaeology.dig.learning_images import Limits

    names, specs = named(arguments.models)
    limits = Limits(
        known=arguments.known,
        probe=min(arguments.probe, arguments.known),
        asked=arguments.asked,
        few=arguments.few,
        attention=arguments.attention_images,
        neighbours=arguments.neighbours,
        epsilon=arguments.epsilon,
    )
    found = compare_learning(
        specs,
        data=arguments.data,
        split=arguments.split,
        known_split=arguments.known_split,
        transfer=arguments.transfer,
        limits=limits,
        names=names,
        has_floors=arguments.floors,
        skip_bad=arguments.skip_bad,
        seed=arguments.seed,
        device=arguments.device,
    )
    show_learning(found, FIGURE, arguments.out, "learning.json", as_json=arguments.json_, arranged=turned)
    return 0


def named(models: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """What to call specimens, and their specs: NAME=SPECIMEN where NAME holds neither a colon nor a question mark."""
    names: dict[str, str] = {}
    specs: list[str] = []
    for model in models:
        name, equals, spec = model.partition("=")
        if equals and ":" not in name and "?" not in name:
            names[spec] = name
            specs.append(spec)
        else:
            specs.append(model)
    return names, specs


def turned(table: "DataTable") -> "DataTable":
    """Models as columns: there are more questions than models, and a terminal is narrow."""
    from archaeology.figures.drawing import DataTable

    lines = [table.columns, *table.rows]
    across = [tuple(line[at] for line in lines) for at in range(len(table.columns))]
    return DataTable(across[0], tuple(across[1:]))
