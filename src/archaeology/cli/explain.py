"""`archaeology explain IMAGE...`: why a model answers as it does, by several methods, with marks for each map."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import BaseModel, ConfigDict, Field

from archaeology.cli.arguments import parsed
from archaeology.core.storage import json_text

if TYPE_CHECKING:
    from archaeology.cli.explain_image import Explained

MODEL = "bundled:vit_cifar10"
METHODS = ("raw_attention", "rollout", "relevance", "lrp", "grad_cam", "integrated_gradients", "occlusion")
JUDGES = ("deletion", "insertion")
ALL = "all"
ANECDOTE = (
    "Marks of one image are an anecdote: another image may rank the methods the other way round. Which of them to "
    "believe for a model, `archaeology dig` tells, with a leaderboard over many images and its intervals."
)


class ExplainArguments(BaseModel):
    """Say why a model answers as it does to an image: maps by several methods, marked by judges.

    The image is cut and scaled as the model was trained to see it. Maps keep their raw values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: tyro.conf.Positional[tuple[Path, ...]] = Field(description="image files, before all options")
    model: str = Field(
        default=MODEL, description="any specimen, e.g. timm:vit_base_patch16_224 or run:FOLDER"
    )
    cnn: str | None = Field(
        default=None, description="a second specimen to explain beside it, e.g. torchvision:resnet50"
    )
    methods: tuple[str, ...] = Field(
        default=(),
        description=f"which (`archaeology list explanations`), or {ALL}; none given: of {', '.join(METHODS)} "
        "those that the model allows",
    )
    target: str | None = Field(
        default=None, description="name or number of the class to explain; None takes each model's own answer"
    )
    judges: tuple[str, ...] = Field(
        default=JUDGES,
        description=f"who marks the maps, or {ALL} who need not know where the object is; none: no marks",
    )
    out: Path | None = Field(
        default=None,
        description="folder for figure, maps and JSON, with a folder in it for each of several images; None takes "
        "runs/explain/IMAGE",
    )
    seed: int = Field(default=0, ge=0, description="of random maps and whatever else is drawn")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print one JSON document"
    )


def run(words: Sequence[str]) -> int:
    """Explain, mark, draw, keep and print.

    Raises:
        ValueError: If no image is named, or no model allows what was asked for; says why.
    """
    arguments = parsed(ExplainArguments, "explain", words)
    if not arguments.images:
        raise ValueError(
            "IMAGE must be at least one image file, but none is named; name it before all options."
        )
    from archaeology.cli.explain_files import folders_for, write_files
    from archaeology.cli.explain_image import explained, pixels_for, read_image
    from archaeology.specimens.load import load

    methods, judges = chosen_methods(arguments), chosen_judges(arguments)
    samples = [read_image(path) for path in arguments.images]
    folders = folders_for(arguments.images, arguments.out)
    specs = [arguments.model] + ([arguments.cnn] if arguments.cnn is not None else [])
    specimens = [load(spec, device=arguments.device) for spec in specs]
    documents: list[dict[str, Any]] = []
    for path, folder, sample in zip(arguments.images, folders, samples, strict=True):
        found = [
            explained(
                specimen,
                pixels_for(sample, specimen),
                methods=methods,
                by=judges,
                target=arguments.target,
                seed=arguments.seed,
            )
            for specimen in specimens
        ]
        check_all_allowed(arguments.methods, found)
        documents.append(write_files(folder, path, sample, found, specs, arguments.seed))
        if not arguments.json_:
            show(path, found, documents[-1])
    if arguments.json_:
        print(json_text({"images": documents}), end="")
    else:
        print(ANECDOTE if judges else "No judge was asked; --judges deletion insertion marks the maps.")
    return 0


def chosen_methods(arguments: ExplainArguments) -> list[str]:
    """Names of methods, each once.

    Raises:
        UnknownNameError: If there is none of a name; suggests the nearest one, or that it is an image.
    """
    from archaeology.core.errors import UnknownNameError
    from archaeology.explain import explanations

    if ALL in arguments.methods:
        return explanations.names()
    for name in arguments.methods:
        if name not in explanations and Path(name).is_file():
            raise UnknownNameError(
                f"--methods must be names of methods, but {name} is a file; put image files before all options."
            )
        explanations.get(name)
    return list(dict.fromkeys(arguments.methods or METHODS))


def chosen_judges(arguments: ExplainArguments) -> list[str]:
    """Names of judges, each once.

    Raises:
        UnknownNameError: If there is no such judge.
        ValueError: If one needs to know where the object is.
    """
    from archaeology.cli.explain_image import check_judges
    from archaeology.evaluate import judges

    if ALL in arguments.judges:
        return [name for name in judges if judges.get(name).kind != "truth"]
    check_judges(arguments.judges)
    return list(dict.fromkeys(arguments.judges))


def check_all_allowed(asked: Sequence[str], found: Sequence["Explained"]) -> None:
    """Raise unless every method asked for by name can explain one of the models.

    Raises:
        ValueError: If one cannot, or nothing was explained at all; with the reason.
    """
    allowed = {name for one in found for name in one.maps}
    for name in asked:
        if name != ALL and name not in allowed:
            raise ValueError(
                f"{name} cannot explain {found[0].specimen.name}: {found[0].missing[name].rstrip('.')}. "
                "Without --methods those are taken that can."
            )
    if not allowed:
        raise ValueError(
            f"no method can explain {found[0].specimen.name}: {'; '.join(found[0].missing.values())}"
        )


def show(path: Path, found: Sequence["Explained"], document: dict[str, Any]) -> None:
    """Print what each model says of an image, the marks of the maps, and where the files are."""
    from archaeology.cli.explain_words import answer_text, marks_table, missing_text, notes
    from archaeology.cli.zoo import show_table

    for one in found:
        print(f"{path}: {answer_text(one)}\n")
        show_table(marks_table(one))
        for line in (*notes(one), *missing_text(one)):
            print(line)
        print()
    print("\n".join(document["files"]), end="\n\n")
    sys.stdout.flush()
