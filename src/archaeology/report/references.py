"""From "Abnar and Zuidema, 2020" to the whole reference: what a report cites, it also lists."""

import json
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

CITED = re.compile(r"([A-ZÀ-Ž][\w'\u2019-]+)(?: et al\.| and [A-ZÀ-Ž][\w'\u2019-]+)?, (\d{4})")
UMLAUT = "\N{COMBINING DIAERESIS}"
# What stands behind intervals, tests and corrections of every report.
STATISTICS = (
    "agresti2005simple",
    "bonett2000sample",
    "efron1979bootstrap",
    "fisher1935design",
    "holm1979simple",
    "mcnemar1947note",
    "phipson2010permutation",
    "wilson1927probable",
)


@cache
def bibliography() -> dict[str, str]:
    """All references that a report may cite, by key; written by `docs/report_references.py`."""
    return json.loads(files("archaeology.report").joinpath("references.json").read_text(encoding="utf-8"))


def keys_of(source: str, known: Iterable[str]) -> tuple[str, ...]:
    """Keys among `known` that a source like "Bach et al., 2015; Achtibat et al., 2024" names."""
    starts = {f"{plain}{year}" for name, year in CITED.findall(source) for plain in _spellings(name)}
    return tuple(key for key in known if re.match(r"[a-z]+\d{4}", key)[0] in starts)  # pyright: ignore


def _spellings(name: str) -> set[str]:
    """A surname as keys spell it: without accents, or umlauts with an e; the first of two names."""
    first = name.lower().split("-")[0].replace("'", "").replace("\u2019", "")
    parts = unicodedata.normalize("NFKD", first)
    written = (parts.replace(UMLAUT, "e"), parts)
    return {"".join(letter for letter in one if not unicodedata.combining(letter)) for one in written}


def references(sources: Iterable[str]) -> tuple[str, ...]:
    """Whole references of these sources and of the statistics, in the order of the alphabet."""
    known = bibliography()
    wanted = {*STATISTICS, *(key for source in sources for key in keys_of(source, known))}
    return tuple(known[key] for key in sorted(wanted) if key in known)
