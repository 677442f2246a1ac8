"""What figures of robustness share: the document they read, names of models and sizes, numbers with intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from archaeology.attacks.method import title_of
from archaeology.core.names import short_name as without_origin
from archaeology.figures.words import NOT_KNOWN, fixed

OTHER_COLOURS = ("third", "fourth", "fifth")
NORMS = {"linf": "L\N{INFINITY}", "l2": "L2"}
LONGEST_NAME = 26


@runtime_checkable
class Attacked(Protocol):
    """Whatever has a survey of robustness: a run directory, or a light object with the same attribute."""

    @property
    def robustness(self) -> Mapping[str, Any] | None:
        """The document as `robustness/survey.py` writes it; None where nothing was measured."""
        ...


@dataclass(frozen=True)
class Subject:
    """A model of the survey.

    Attributes:
        name: As the document has it.
        title: To print.
        colour: Name of a colour of the theme.
    """

    name: str
    title: str
    colour: str


@dataclass(frozen=True)
class Ends:
    """A number with its 95 % interval; NaN where it is not known."""

    value: float
    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Whether there is a number with an interval."""
        return bool(np.isfinite([self.value, self.low, self.high]).all())

    @property
    def side(self) -> int:
        """1 or -1 where the whole interval lies above or below zero, else 0; an unknown one tells nothing."""
        return int(self.low > 0) - int(self.high < 0) if self.is_known else 0

    def turned(self, sign: int) -> "Ends":
        """The number times 1 or -1."""
        return self if sign > 0 else Ends(-self.value, -self.high, -self.low)

    @property
    def in_percent(self) -> "Ends":
        """A share in percent, or a difference of shares in points."""
        return Ends(100 * self.value, 100 * self.low, 100 * self.high)

    def text(self, decimals: int) -> str:
        """Like "12.3 (10.1 to 14.0)"."""
        return (
            f"{fixed(self.value, decimals)} ({self.range(decimals)})"
            if self.is_known
            else self.bare(decimals)
        )

    def range(self, decimals: int) -> str:
        """Like "10.1 to 14.0"."""
        return f"{fixed(self.low, decimals)} to {fixed(self.high, decimals)}"

    def bare(self, decimals: int) -> str:
        """The number alone."""
        return fixed(self.value, decimals) if np.isfinite(self.value) else NOT_KNOWN


def part_of(source: Attacked, key: str) -> Any:
    """One part of the document; None where there is no document, or this part is absent or empty."""
    return (source.robustness or {}).get(key) or None


def subjects_of(document: Mapping[str, Any], used: Iterable[str] = ()) -> dict[str, Subject]:
    """The models of the document by name, then those of `used` that it does not list, each in a colour of its own.

    The first transformer is blue and the first CNN orange, as everywhere; the others take the further colours in turn.
    """
    kinds = {str(one["name"]): str(one.get("kind", "")) for one in document.get("specimens") or ()}
    kinds |= {name: "" for name in used if name not in kinds}
    firsts: dict[str, str] = {}
    for name, kind in kinds.items():
        firsts.setdefault("vit" if kind == "transformer" else "cnn" if kind.startswith("conv") else "", name)
    colours = {name: colour for colour, name in firsts.items() if colour}
    others = [name for name in kinds if name not in colours]
    colours |= {name: OTHER_COLOURS[place % len(OTHER_COLOURS)] for place, name in enumerate(others)}
    titles = {name: short_name(name) for name in kinds}
    is_shared = {name: list(titles.values()).count(title) > 1 for name, title in titles.items()}
    return {
        name: Subject(name, shortened(name) if is_shared[name] else titles[name], colours[name])
        for name in kinds
    }


def short_name(name: str) -> str:
    """A model's name without where it comes from, cut where it is too long for a figure."""
    return shortened(without_origin(name))


def shortened(name: str, letters: int = LONGEST_NAME) -> str:
    """A name cut in the middle where it is too long for a figure: its end often tells models apart."""
    if len(name) <= letters:
        return name
    half = letters // 2
    return f"{name[: letters - half - 1]}\N{HORIZONTAL ELLIPSIS}{name[len(name) - half :]}"


def ends_of(row: Mapping[str, Any], key: str) -> Ends:
    """`key` of a row with `key_low` and `key_high`; NaN stands for null and for what is missing."""
    value, low, high = (plain_float(row.get(key + tail)) for tail in ("", "_low", "_high"))
    return Ends(value, low, high)


def interval_of(found: Mapping[str, Any] | None) -> Ends:
    """An interval written as value, low and high."""
    found = found or {}
    return Ends(*(plain_float(found.get(end)) for end in ("value", "low", "high")))


def plain_float(value: Any) -> float:
    """A float; NaN for null."""
    return float("nan") if value is None else float(value)


def stacked(ends: Sequence[Ends]) -> Float[np.ndarray, "end point"]:
    """Values, lower and upper ends as three rows."""
    return np.array([[one.value, one.low, one.high] for one in ends], dtype=float).reshape(-1, 3).T


def size_text(epsilon: float, norm: str) -> str:
    """A size of change as people say it: "8/255" where every pixel is bounded, else the length itself."""
    if norm == "linf":
        return f"{255 * epsilon:.3g}/255" if epsilon else "0"
    return f"{epsilon:.3g}"


def attack_text(attack: str, norm: str = "") -> str:
    """An attack as a figure names it, like "PGD, L∞"."""
    words = title_of(attack)
    return f"{words}, {NORMS.get(norm, norm)}" if norm else words


def inked(text: str) -> str:
    """`text` for a drawing, where a dollar sign would begin a formula."""
    return text.replace("$", r"\$")
