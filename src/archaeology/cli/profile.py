"""`archaeology profile`: parameters, FLOPs, memory, latency and throughput of any specimens, side by side."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import Field

from archaeology.cli.arguments import parsed
from archaeology.cli.zoo import show_table
from archaeology.core.storage import json_text
from archaeology.profiling.config import ProfileConfig

if TYPE_CHECKING:
    from archaeology.profiling.directory import ProfileRun

FIGURES = ("profile_specimens", "profile_patch_size")
CONVENTION = "2 FLOPs a multiply-add; papers and libraries often give multiply-adds, half of it."


class ProfileArguments(ProfileConfig):
    """Measure parameters, FLOPs, peak memory, latency and throughput of specimens, by image size and patch size.

    Weights are random unless a spec says where they come from, so nothing is fetched. A measurement that was stopped
    goes on where it was when the same command is given again.
    """

    specimens: tyro.conf.Positional[tuple[str, ...]] = Field(
        default=(), description=ProfileConfig.model_fields["specimens"].description
    )
    dry_run: bool = Field(default=False, description="only estimate how long it would take")
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print one JSON document"
    )


OWN = {"dry_run", "json_"}


def run(words: Sequence[str]) -> int:
    """Estimate, or measure, draw and print."""
    arguments = parsed(ProfileArguments, "profile", words)
    config = ProfileConfig.model_validate(arguments.model_dump(exclude=OWN))
    if arguments.dry_run:
        return forecast(config, arguments.json_)
    from archaeology.profiling.estimate import estimate
    from archaeology.profiling.run import check_folder, measure_profile

    check_folder(config)  # so that a wrong folder is told before anything is run
    print(f"archaeology: profiling takes {estimate(config).text()}", end="", file=sys.stderr)
    return show(measure_profile(config), arguments.json_)


def forecast(config: ProfileConfig, as_json: bool) -> int:
    """Print how long measuring would take."""
    from archaeology.profiling.estimate import estimate

    found = estimate(config)
    print(json_text(asdict(found)) if as_json else found.text(), end="")
    return 0


def show(found: "ProfileRun", as_json: bool) -> int:
    """Draw the figures of a profile, print what they show."""
    from archaeology.figures import profile_figures, save_figure

    documents: dict[str, Any] = {}
    for name in FIGURES:
        drawing = profile_figures.get(name)
        numbers = drawing.compute(found)
        if numbers is None:
            continue
        files = save_figure(drawing.draw(numbers), found.path, name)
        documents[name] = {"headline": drawing.headline(numbers), "files": files}
        if not as_json:
            print(f"{drawing.headline(numbers)}\n")
            show_table(drawing.table(numbers))
    if as_json:
        print(json_text({"run": found.path, "figures": documents, **found.run}), end="")
    else:
        print(f"{found.setting}. {CONVENTION} {against_formulas(found)}".rstrip())
        print("\n".join(str(path) for document in documents.values() for path in document["files"]))
    return 0


def against_formulas(found: "ProfileRun") -> str:
    """Where a closed formula is known, how the count compares with it."""
    from archaeology.figures.profile_specimens import against_formula

    known = [profile for profile in found.profiles if profile.formula_flops is not None]
    said = ", ".join(f"{profile.name} {against_formula(profile)}" for profile in known)
    return f"Against the closed formula of a plain ViT: {said}." if said else ""
