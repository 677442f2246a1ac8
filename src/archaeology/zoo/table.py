"""What there is: one entry for each registered mechanism and each whole layer, from the facts it states of itself."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from archaeology.attention import mechanisms
from archaeology.attention.layers import layers
from archaeology.attention.mechanism import Facts
from archaeology.core.registry import unknown_name

RELATIONS = {
    "exact": "softmax attention over all tokens",
    "sparse": "exact softmax over fewer keys",
    "approximate": "an estimate of softmax attention",
    "other": "weights of another kind",
}
SYMBOLS = (
    "N tokens, d features of a head, Q K V its queries, keys and values; time and memory are of one head"
)
KEY = re.compile(r"([a-z]+)((?:18|19|20)\d\d)[a-z]+")


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
        name: As it is registered.
        kind: "mechanism", which `MultiHeadAttention(mechanism=...)` takes by name, or "layer", which owns its
            projections.
        title: Its name in prose.
        formula: In plain text.
        time: Operations of one head, as a function of length.
        memory: Numbers kept at once, likewise.
        relation: To softmax attention over all tokens: a key of `RELATIONS`.
        is_causal: Whether it can hide the future.
        supports: All it can do, sorted.
        author: Surname of the first author of the source.
        year: When the source was published.
        source: Key in the bibliography.
        rows_sum_to_one: Whether each row of its pattern does.
    """

    name: str
    kind: str
    title: str
    formula: str
    time: str
    memory: str
    relation: str
    is_causal: bool
    supports: tuple[str, ...]
    author: str
    year: int
    source: str
    rows_sum_to_one: bool


def entries(names: Sequence[str] | None = None) -> list[Entry]:
    """One entry for each of `names`, those nearest to softmax attention first; all if None.

    Raises:
        UnknownNameError: If nothing has one of the names.
    """
    known: dict[str, tuple[str, Any]] = {name: ("mechanism", mechanisms.get(name)) for name in mechanisms}
    known |= {name: ("layer", layers.get(name)) for name in layers}
    for name in names or ():
        if name not in known:
            raise unknown_name("attention mechanism", name, list(known))
    listed = [entry_of(name, *known[name]) for name in known if names is None or name in names]
    return sorted(listed, key=lambda entry: list(RELATIONS).index(entry.relation))


def entry_of(name: str, kind: str, thing: Any) -> Entry:
    """The row of one mechanism or layer."""
    facts: Facts = thing.facts
    author, year = author_and_year(facts.source)
    return Entry(
        name=name,
        kind=kind,
        title=facts.title,
        formula=facts.formula,
        time=facts.time,
        memory=facts.memory,
        relation=facts.relation,
        is_causal="causal" in thing.supports,
        supports=tuple(sorted(thing.supports)),
        author=author,
        year=year,
        source=facts.source,
        rows_sum_to_one=facts.rows_sum_to_one,
    )


def author_and_year(key: str) -> tuple[str, int]:
    """Surname and year out of a key such as "vaswani2017attention".

    Raises:
        ValueError: If the key is not surname, year, word.
    """
    found = KEY.fullmatch(key)
    if found is None:
        raise ValueError(
            f"A source must be a key of docs/references.bib, such as 'vaswani2017attention', but got {key!r}."
        )
    return found[1].capitalize(), int(found[2])


def markdown_table(listed: Sequence[Entry]) -> str:
    """The same as a table in Markdown."""
    lines = [
        "| name | what it is | formula | time | memory | relation | causal | source |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in listed:
        formula, time, memory = (
            f"`{text}`".replace("|", "\\|") for text in (entry.formula, entry.time, entry.memory)
        )
        kind = " (layer)" if entry.kind == "layer" else ""
        lines.append(
            f"| `{entry.name}` | {entry.title}{kind} | {formula} | {time} | {memory} | {entry.relation} | "
            f"{'yes' if entry.is_causal else 'no'} | {entry.author} {entry.year}, `{entry.source}` |"
        )
    return "\n".join(lines)
