"""A judge marks an explanation: no method grades itself, and each mark comes with what chance would get.

A judge is a function of a `Trial` and an `Explanation`, registered with what kind of virtue it looks at:

- `faithfulness`: does the model's answer depend on the places named?
- `truth`: are they where the object is known to be?
- `sanity`: does the map depend on what the model has learnt?
- `robustness`: does it stay when the image hardly changes?
- `simplicity`: does it name few places? A map can be simple and wrong, so this never makes a winner.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.core.registry import Registry
from archaeology.evaluate.trial import Trial
from archaeology.explain.explanation import Explanation

NO_ANSWER = "the model gives no finite answer"
Kind = Literal["faithfulness", "truth", "sanity", "robustness", "simplicity"]


@dataclass(frozen=True, eq=False)
class Marks:
    """What a judge says of one explanation, image by image.

    Attributes:
        judge: Its registered name.
        score: Higher is better; NaN for an image that was left out.
        chance: What a map that knows nothing gets, where that is known without trying; else None, and the marks of a
            random map are what chance gives.
        parameters: What the judge was called with, defaults included.
        formula: What was computed, in plain text.
        left_out: Why images were left out, and which.
        has_evidence: Whether the map said anything; one that does not is judged as a map that is the same everywhere.
        details: More than the score, per image: curves and their like.
    """

    judge: str
    score: Float[Tensor, " batch"]
    chance: Float[Tensor, " batch"] | None
    parameters: Mapping[str, object]
    formula: str
    has_evidence: Bool[Tensor, " batch"]
    left_out: Mapping[str, Bool[Tensor, " batch"]] = field(default_factory=dict)
    details: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def judged(self) -> Bool[Tensor, " batch"]:
        """Which images have a mark."""
        return self.score.isfinite()


@dataclass(frozen=True, eq=False)
class Judge:
    """A registered judge.

    Attributes:
        mark: `mark(trial, explanation, **parameters)`.
        kind: What it looks at; see the module.
        counts: Whether it has a say in who wins overall. One whose marks are part of another's does not.
    """

    mark: Callable[..., Marks]
    kind: Kind
    counts: bool


judges: Registry[Judge] = Registry("judge")
Mark = TypeVar("Mark", bound=Callable[..., Marks])


def judge_of(kind: Kind, name: str, *, counts: bool = False) -> Callable[[Mark], Mark]:
    """Decorator for a judge, `mark(trial, explanation, **parameters)`."""

    def shelve(mark: Mark) -> Mark:
        judges.register(name)(Judge(mark, kind, counts))
        return mark

    return shelve


def mark(name: str, trial: Trial, explanation: Explanation, **parameters: object) -> Marks:
    """What judge `name` says of an explanation.

    Args:
        name: A registered judge; see `judges.names()`.
        trial: Images, model and class; see `trial_of`.
        explanation: Of the trial's images and class.
        parameters: Passed on to the judge.

    Raises:
        UnknownNameError: If no judge has this name.
        ValueError: If the explanation is of other images or another class, or the judge needs a truth that is not
            known.
    """
    judge = judges.get(name)
    target = explanation.target
    if target is not None and not torch.equal(target.to(trial.target), trial.target):
        raise ValueError(
            f"the explanation must be of the trial's classes {trial.target.tolist()}, but is of {target.tolist()}; "
            "explain trial.images with target=trial.target."
        )
    marks = judge.mark(trial, explanation, **parameters)
    silent = ~marks.score.isfinite()
    for reason in marks.left_out.values():
        silent = silent & ~reason
    return replace(marks, left_out={**marks.left_out, NO_ANSWER: silent}) if bool(silent.any()) else marks


def left_blank(
    score: Float[Tensor, " batch"], left_out: Mapping[str, Bool[Tensor, " batch"]]
) -> Float[Tensor, " batch"]:
    """The score with NaN where an image was left out."""
    for reason in left_out.values():
        score = torch.where(reason, torch.full_like(score, torch.nan), score)
    return score
