"""`archaeology attack SPECIMEN...`: how large a change of the image breaks each model, every success checked again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import BaseModel, ConfigDict, Field

from archaeology.cli.arguments import parsed
from archaeology.core.storage import json_text

PARTS = ("curves", "gradients", "transfer")
ALL = "all"
MEANING = (
    "Robust accuracy is an upper bound: every image counted as broken was checked in a fresh pass, another attack may "
    "break more."
)


class AttackArguments(BaseModel):
    """Attack models on the same images: accuracy against the size of the change, with intervals.

    Sizes are of images in [0, 1]: 8/255 is the customary largest change of a pixel of CIFAR-10.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    specimens: tyro.conf.Positional[tuple[str, ...]] = Field(
        description="models, before all options, e.g. bundled:vit_cifar10 bundled:convnet_cifar10"
    )
    data: str = Field(description="the images, with labels, e.g. folder:photos/ or parquet:cifar10/")
    split: str | None = Field(
        default=None, description="which part of the data; None takes the one meant for testing"
    )
    attacks: tuple[str, ...] = Field(
        default=("pgd",), description="of the curves: pgd, apgd, square, ... (`archaeology list attacks`)"
    )
    norm: str | None = Field(default=None, description="linf or l2; None takes each attack's usual one")
    epsilons: tuple[str, ...] = Field(
        default=(),
        description="sizes of the change, ascending, such as 1/255 2/255 8/255; none: ten customary ones",
    )
    epsilon: str = Field(
        default="4/255", description="size of the change where a part attacks once, as transfer does"
    )
    parts: tuple[str, ...] = Field(
        default=PARTS,
        description=f"what to measure (`archaeology list robustness`), or {ALL}",
    )
    images: int = Field(default=256, ge=2, description="how many images, chosen evenly over the classes")
    out: Path | None = Field(
        default=None, description="folder for figures and JSON; None makes one under runs/attack/"
    )
    seed: int = Field(default=0, ge=0, description="of the choice of images and of all that is drawn")
    skip_bad: bool = Field(default=False, description="leave out images that cannot be read")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print one JSON document"
    )


def run(words: Sequence[str]) -> int:
    """Attack, draw, keep and print.

    Raises:
        ValueError: If no model is named, or names, sizes, classes or data do not fit; says which.
    """
    arguments = parsed(AttackArguments, "attack", words)
    if not arguments.specimens:
        raise ValueError(
            "SPECIMEN must be at least one model, but none is named; name it before all options."
        )
    sizes = [size_of(text) for text in arguments.epsilons] or None
    from archaeology.cli.attack_survey import surveyed

    document = surveyed(arguments, sizes, size_of(arguments.epsilon))
    if arguments.json_:
        print(json_text(document), end="")
    else:
        show(document)
    return 0


def size_of(text: str) -> float:
    """`"8/255"` as a number.

    Raises:
        ValueError: If it is no number.
    """
    from archaeology.training.config import fraction

    return float(fraction(text))  # pyright: ignore[reportArgumentType]


def show(document: dict[str, Any]) -> None:
    """Print the tables of the curves, what each other figure says, what was left out, and where the files are."""
    from archaeology.cli.attack_survey import drawn
    from archaeology.cli.zoo import show_table

    for drawing, numbers in drawn(document):
        print(f"{drawing.title}\n{drawing.headline(numbers)}")
        if drawing.name == "robustness_curve":
            show_table(drawing.table(numbers))
        print()
    for part in ("gradients", "gradients_l2"):
        for name, report in (document.get(part) or {}).items():
            for flag in report["flags"]:
                print(f"warning: {name}: {flag}")
    for part, reason in document["missing"].items():
        print(f"{part}: left out, because {reason}.")
    print(MEANING)
    print("\n".join(document["files"]))
