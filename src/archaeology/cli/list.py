"""`archaeology list`: what there is, by kind, each with one line."""

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated

import tyro
from pydantic import BaseModel, ConfigDict, Field

from archaeology.cli.arguments import parsed
from archaeology.core.registry import unknown_name
from archaeology.core.storage import json_text


class ListArguments(BaseModel):
    """Name what there is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: tyro.conf.Positional[str] = Field(
        default="all",
        description="specimens, recipes, models, worlds, data, explanations, judges, attacks, "
        "robustness, corruptions, figures or all",
    )
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print one JSON document"
    )


def run(words: Sequence[str]) -> int:
    """Print the names."""
    arguments = parsed(ListArguments, "list", words)
    if arguments.kind != "all" and arguments.kind not in KINDS:
        raise unknown_name("kind of thing to list", arguments.kind, ["all", *KINDS])
    kinds = list(KINDS) if arguments.kind == "all" else [arguments.kind]
    listed = {kind: KINDS[kind]() for kind in kinds}
    if arguments.json_:
        print(json_text(listed), end="")
        return 0
    for kind, things in listed.items():
        print(f"{kind}:")
        width = max(map(len, things), default=0)
        for name, summary in things.items():
            print(f"  {name:{width}}  {summary}".rstrip())
    return 0


def first_line(thing: object) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def specimens() -> dict[str, str]:
    """Bundled specimens and the prefixes that load others."""
    from archaeology.specimens.bundled import bundled_names
    from archaeology.specimens.load import libraries

    listed = {f"bundled:{name}": "trained here, ships with the package" for name in bundled_names()}
    return listed | {
        f"{name}:...": first_line(libraries.get(name)) for name in libraries if name != "bundled"
    }


def recipes() -> dict[str, str]:
    """Recipes that `archaeology train` knows."""
    from archaeology.recipes import recipes as registry

    return {name: first_line(registry.get(name)) for name in registry}


def models() -> dict[str, str]:
    """Architectures of our own."""
    from archaeology.models import models as registry

    return {name: first_line(registry.get(name)) for name in registry}


def data() -> dict[str, str]:
    """Prefixes and names that `--data` takes."""
    import archaeology.data.open  # noqa: F401, fills the registry
    from archaeology.data.registry import image_sources

    return {name: first_line(image_sources.get(name)) for name in image_sources}


def worlds() -> dict[str, str]:
    """Synthetic worlds whose evidence is known."""
    from archaeology.data.worlds import worlds as registry

    return {name: first_line(inspect.getmodule(registry.get(name))) for name in registry}


def figures() -> dict[str, str]:
    """Figures that `archaeology figures` draws."""
    from archaeology.figures import world_figures as registry

    return {name: registry.get(name).title for name in registry}


def explanations() -> dict[str, str]:
    """Heat-map methods."""
    from archaeology.explain import explanations as registry

    return {name: first_line(registry.get(name).draw) for name in registry}


def judges() -> dict[str, str]:
    """What marks heat maps."""
    from archaeology.evaluate import judges as registry

    return {name: first_line(registry.get(name).mark) for name in registry}


def attacks() -> dict[str, str]:
    """What changes images until models are wrong."""
    from archaeology.attacks import attacks as registry

    return {name: first_line(inspect.getmodule(registry.get(name).draw)) for name in registry}


def robustness() -> dict[str, str]:
    """Parts of a survey of robustness."""
    from archaeology.robustness.survey import chosen_parts, parts

    return {name: first_line(parts.get(name)) for name in chosen_parts(())}


def corruptions() -> dict[str, str]:
    """Common corruptions of images."""
    from archaeology.data.corruptions import corruptions as registry

    return {name: first_line(registry.get(name).operation) for name in registry}


KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "specimens": specimens,
    "recipes": recipes,
    "models": models,
    "worlds": worlds,
    "data": data,
    "explanations": explanations,
    "judges": judges,
    "attacks": attacks,
    "robustness": robustness,
    "corruptions": corruptions,
    "figures": figures,
}
