"""`archaeology zero-shot MODEL`: name images by words alone, wording by wording, with intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import BaseModel, ConfigDict, Field

from archaeology.cli.arguments import check_out, parsed
from archaeology.cli.learning_shown import show_learning

FIGURE = "zero_shot_wording"


class ZeroShotArguments(BaseModel):
    """Name images by words alone: each class name in several sentences, the nearest sentence wins.

    Says what every wording reaches, what all of them reach together, and whether the wording matters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: tyro.conf.Positional[str] = Field(
        description="a model of images and texts: run:FOLDER of image_text_..., open_clip:NAME or hf:NAME"
    )
    data: str = Field(
        description="images with labels, e.g. cifar10, folder:photos/ or cue_conflict_pairs (pairs never seen together)"
    )
    split: str | None = Field(default=None, description="which part of them")
    template: tuple[str, ...] = Field(
        default=(),
        description='sentences with {} where the name goes, e.g. "a photo of a {}"; none given: those of the model\'s '
        "own captions where they are known, else eight neutral ones",
    )
    classes: tuple[str, ...] = Field(
        default=(), description="names to ask for instead of those of the data, in their order"
    )
    count: int = Field(default=1000, ge=1, description="images, spread evenly over the classes")
    skip_bad: bool = Field(default=False, description="leave out images that cannot be read")
    out: Path = Field(default=Path("runs/zero_shot"), description="folder for figure and JSON")
    seed: int = Field(default=0, ge=0, description="of the choice of images and of the resampling")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print one JSON document"
    )


def run(words: Sequence[str]) -> int:
    """Name, draw, keep and print.

    Raises:
        ValueError: If names do not fit the data, or the model reads no texts.
    """
    arguments = parsed(ZeroShotArguments, "zero-shot", words)
    check_out(arguments.out)
    from archaeology.data import choose_evenly, decode_once, labelled, open_source
    from archaeology.represent.templates import check_classes, check_templates
    from archaeology.represent.zero_shot import zero_shot
    from archaeology.specimens.image_text import load_image_text

    source = labelled(open_source(arguments.data, split=arguments.split))
    names = arguments.classes or tuple(source.classes)
    if len(names) != len(source.classes):
        raise ValueError(
            f"--classes must give a name for each of the {len(source.classes)} classes of {source.name}, in their "
            f"order ({', '.join(source.classes)}), but gives {len(names)}."
        )
    check_classes(names)  # before anything is loaded
    if arguments.template:
        check_templates(arguments.template)
    model = load_image_text(arguments.model, device=arguments.device)
    chosen = choose_evenly(source, arguments.count, seed=arguments.seed)
    images = decode_once(
        chosen, model.image_size, crop_fraction=model.specimen.crop_fraction, skip_bad=arguments.skip_bad
    )
    found = zero_shot(model, images, images.labels, names, templates=arguments.template, seed=arguments.seed)
    show_learning(found, FIGURE, arguments.out, "zero_shot.json", as_json=arguments.json_)
    return 0
