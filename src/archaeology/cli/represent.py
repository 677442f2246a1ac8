"""`archaeology represent MODEL`: what each layer knows, and which layers of another model are like it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import BaseModel, ConfigDict, Field

from archaeology.cli.arguments import check_out, parsed
from archaeology.core.storage import json_text

ALL = "all"
MEANING = (
    "That a class can be read from a layer does not show that the model uses it there. CKA is 1 where two layers find "
    "the same images alike; it says nothing of classes."
)


class RepresentArguments(BaseModel):
    """Ask every layer of a model what it knows: neighbours, a linear probe, few labels, and which layers are alike.

    Half of the images are known with their labels, the other half is asked. Without labels only the rest is measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: tyro.conf.Positional[str] = Field(
        description="any specimen, e.g. timm:vit_base_patch16_224 or run:FOLDER"
    )
    data: str = Field(description="the images, e.g. folder:photos/ or parquet:cifar10/")
    other: str | None = Field(
        default=None, description="a second specimen to compare with, e.g. torchvision:resnet50"
    )
    split: str | None = Field(
        default=None, description="which part of the data; must be said where there are several"
    )
    layers: tuple[str, ...] = Field(
        default=(),
        description="module paths in MODEL, such as blocks.0 blocks.5; none: its blocks, at most 12",
    )
    other_layers: tuple[str, ...] = Field(default=(), description="the same in the other model")
    parts: tuple[str, ...] = Field(
        default=(ALL,),
        description=f"what to measure: similarity, reading, few_shot, maps, outliers, objects, retrieval, or {ALL}",
    )
    maps: tuple[str, ...] = Field(
        default=("tsne", "pca"), description="how images are laid out: tsne, pca, umap; the first is drawn"
    )
    images: int = Field(default=400, ge=8, description="how many images, chosen evenly over the classes")
    out: Path | None = Field(
        default=None, description="folder for figures and JSON; None makes one under runs/represent/"
    )
    seed: int = Field(default=0, ge=0, description="of the choice of images and of all that is drawn")
    skip_bad: bool = Field(default=False, description="leave out images that cannot be read")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print one JSON document"
    )


def run(words: Sequence[str]) -> int:
    """Measure, draw, keep and print.

    Raises:
        ValueError: If names, layers or data do not fit; says which.
    """
    arguments = parsed(RepresentArguments, "represent", words)
    if arguments.other_layers and arguments.other is None:
        raise ValueError(
            "--other-layers must be layers of a second model, but none is named; name it with --other."
        )
    if not arguments.parts:
        raise ValueError("--parts must name what to measure, but names nothing; leave it out to measure all.")
    check_out(arguments.out)
    from archaeology.cli.represent_survey import surveyed

    document = surveyed(arguments)
    if arguments.json_:
        print(json_text(document), end="")
    else:
        show(document)
    return 0


def show(document: dict[str, Any]) -> None:
    """Print the table of layers, what each figure says, what was left out, and where the files are."""
    from archaeology.cli.represent_survey import drawn, table_of_layers
    from archaeology.cli.zoo import show_table
    from archaeology.report.representation import left_out

    show_table(table_of_layers(document))
    print()
    for drawing, numbers in drawn(document):
        print(f"{drawing.title}\n{drawing.headline(numbers)}\n")
    for part, model, reason in left_out(document):
        print(f"{part}{f' of {model}' if model else ''}: left out, because {reason.rstrip('.')}.")
    print(MEANING)
    print("\n".join(document["files"]))
