"""Misspelt names get the nearest right ones back, without listing a thousand models."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from archaeology.core.errors import UnknownNameError
from archaeology.specimens.registry import listings

#: Up to so many names are listed in full.
FEW = 12


def no_such(kind: str, name: str, known: Sequence[str]) -> UnknownNameError:
    """The error for a `name` that is none of the `known`: suggests the nearest, lists all only where few."""
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    rest = f"Known: {', '.join(known)}." if len(known) <= FEW else f"There are {len(known)}."
    return UnknownNameError(f"No {kind} is called {name!r}{hint} {rest}")


def suggested_specs(name: str) -> list[str]:
    """Specs that somebody who wrote only `name`, without a prefix, may have meant; the likeliest first."""
    if Path(name).is_dir():
        return [f"{'run' if (Path(name) / 'model.safetensors').is_file() else 'hf'}:{name}"]
    known = _known_specs()
    exact = [spec for spec in known if spec.partition(":")[2] == name.partition(".")[0]]
    if exact:
        return [f"{spec.partition(':')[0]}:{name}" for spec in exact]
    bare = {spec.partition(":")[2]: spec for spec in reversed(known)}
    return [bare[near] for near in get_close_matches(name, list(bare), n=2, cutoff=0.6)]


def _known_specs() -> list[str]:
    """Every spec that an installed library can name."""
    specs: list[str] = []
    for prefix in listings:
        try:
            specs += [f"{prefix}:{name}" for name in listings.get(prefix)()]
        except ImportError:  # an optional library that is not installed suggests nothing
            continue
    return specs
