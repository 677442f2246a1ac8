"""What every figure brings: numbers from a run, ink for them, a sentence on what they show, a table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from archaeology.core.registry import Registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Source = TypeVar("Source")
Numbers = TypeVar("Numbers")


@dataclass(frozen=True)
class DataTable:
    """The numbers of a figure as text; the first cell of every row is its heading."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Wording:
    """What stands below a figure: `explanation` and `definition` as in `Drawing`."""

    explanation: str
    definition: str


@dataclass(frozen=True)
class Drawing(Generic[Source, Numbers]):
    """One kind of figure.

    Attributes:
        name: As in the registry and in links.
        title: What is measured, in plain words.
        explanation: What it means, in one sentence a student understands.
        definition: The formula in words, with its units and its interval.
        compute: The numbers, from a run directory or what else the figure is of; None where it has none of this kind.
        headline: What these numbers show, in one sentence.
        draw: Ink, without arithmetic.
        table: The same numbers as text.
        own_answers: Other words for a run without labels, where the model's own answers stand in for them; None where
            the words hold either way.
    """

    name: str
    title: str
    explanation: str
    definition: str
    compute: Callable[[Source], Numbers | None]
    headline: Callable[[Numbers], str]
    draw: Callable[[Numbers], "Figure"]
    table: Callable[[Numbers], DataTable]
    own_answers: Wording | None = None

    def wording(self, *, has_truth: bool) -> Wording:
        """The words for a run whose answers can be right or wrong, or cannot."""
        if has_truth or self.own_answers is None:
            return Wording(self.explanation, self.definition)
        return self.own_answers


figures: Registry[Drawing] = Registry("figure")  # of a dig; the report shows them all
zoo_figures: Registry[Drawing] = Registry("figure of the zoo")
world_figures: Registry[Drawing] = Registry("figure of the worlds")  # `archaeology figures` draws them
profile_figures: Registry[Drawing] = Registry("figure of a profile")
training_figures: Registry[Drawing] = Registry("figure of trainings")  # of `compare-training`
explanation_figures: Registry[Drawing] = Registry("figure of explanations")  # of `explain`
learning_figures: Registry[Drawing] = Registry(
    "figure of ways to learn"
)  # of `zero-shot` and `compare-learning`
