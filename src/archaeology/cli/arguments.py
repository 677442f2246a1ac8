"""From words to a frozen pydantic object, with help and error messages made from its fields."""

from collections.abc import Sequence
from typing import TypeVar

import tyro
from pydantic import BaseModel

Arguments = TypeVar("Arguments", bound=BaseModel)


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
