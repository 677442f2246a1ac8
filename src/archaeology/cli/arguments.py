"""From words to a frozen pydantic object, with help and error messages made from its fields."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import tyro
from pydantic import BaseModel

Arguments = TypeVar("Arguments", bound=BaseModel)


def check_out(out: Path | None) -> None:
    """Raise unless results can be put there, before hours are spent on them; None is a folder of our own choice.

    Raises:
        ValueError: If it, or what it would lie in, is no folder.
    """
    if out is None:
        return
    there = next((place for place in (out, *out.parents) if place.exists()), out)
    if not there.is_dir():
        raise ValueError(
            f"--out must be a folder or one that can be made, but {there} is a file; name another."
        )


def parsed(kind: type[Arguments], command: str, words: Sequence[str]) -> Arguments:
    """The words behind `archaeology COMMAND` as an object of this kind.

    Raises:
        SystemExit: 0 after `--help`, 2 for words that do not fit; tyro prints which and what is near.
        ValueError: If a value breaks a constraint of its field.
    """
    return tyro.cli(
        kind,
        prog=f"archaeology {command}",
        args=list(words),
        description=kind.__doc__,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
    )
